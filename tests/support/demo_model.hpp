// The demo checkpoint, loaded, with an executor on it.
#pragma once

#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "cpu/team.hpp"
#include "runtime/exec/executor.hpp"
#include "runtime/model/weight_source.hpp"
#include "runtime/weights/model.hpp"

namespace dodeca::tests {

inline const std::string kDemoModel = DODECA_SOURCE_DIR "/bench/demo/model";

inline const runtime::Log kSilent = [](runtime::Level, std::string_view) {};

inline nlohmann::json read_golden() {
  return nlohmann::json::parse(std::ifstream(DODECA_SOURCE_DIR "/tests/golden/golden.json"));
}

inline std::unique_ptr<runtime::Model> load_model(const runtime::WeightSource& source, cpu::Team& team,
                                                  const runtime::PlanOptions& options = {}) {
  return runtime::Model::load(source, runtime::make_plan(source, runtime::this_machine(), options), team, {}, kSilent);
}

struct LoadedDemo {
  cpu::Team team;
  std::unique_ptr<runtime::WeightSource> source;
  std::unique_ptr<runtime::Model> model;

  explicit LoadedDemo(const runtime::PlanOptions& options, int n_threads = 2, const std::string& path = kDemoModel)
      : team(n_threads), source(runtime::open_weights(path, {}, kSilent)), model(load_model(*source, team, options)) {}
};

// Rows of one sequence from position `begin`, all asking for logits.
inline std::vector<runtime::exec::Row> rows_of(const std::vector<int>& ids, std::int32_t sequence = 0,
                                               std::int32_t begin = 0) {
  std::vector<runtime::exec::Row> rows;
  for (const int id : ids)
    rows.push_back({.token = id,
                    .position = begin + static_cast<std::int32_t>(rows.size()),
                    .sequence = sequence,
                    .wants_logits = true});
  return rows;
}

// log softmax of row `row` of logits at `id`.
inline double log_prob(const std::vector<float>& logits, std::size_t vocab, std::size_t row, std::size_t id) {
  const float* z = logits.data() + row * vocab;
  double max = z[0], sum = 0.0;
  for (std::size_t i = 1; i < vocab; ++i) max = std::max<double>(max, z[i]);
  for (std::size_t i = 0; i < vocab; ++i) sum += std::exp(z[i] - max);
  return z[id] - max - std::log(sum);
}

}  // namespace dodeca::tests
