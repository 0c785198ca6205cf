// Rows, and what an executor makes of them.
#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "tests/support/demo_model.hpp"
#include "tests/support/small_config.hpp"

namespace dodeca::tests {

inline std::vector<int> some_ids(int n, int vocab, int seed = 1) {
  std::vector<int> ids;
  for (int i = 0; i < n; ++i)
    ids.push_back(static_cast<int>(
        ((static_cast<unsigned>(i + 3) * 2654435761u + static_cast<unsigned>(seed - 1) * 40503u) >> 9) %
        static_cast<unsigned>(vocab)));
  return ids;
}

inline std::vector<runtime::exec::Row> prompt_of(const std::vector<int>& ids, std::int32_t sequence = 0,
                                                 std::int32_t begin = 0) {
  std::vector<runtime::exec::Row> rows = rows_of(ids, sequence, begin);
  for (runtime::exec::Row& row : rows) row.prompt = true;
  return rows;
}

// Of rows of one sequence, from its beginning on.
inline std::vector<float> logits_of(runtime::exec::Executor& executor, const std::vector<runtime::exec::Row>& rows,
                                    cpu::Team* team = nullptr) {
  executor.cache().truncate(rows.front().sequence, 0);
  runtime::exec::ForwardOutput out;
  executor.forward(rows, out, team);
  return out.logits;
}

inline std::vector<float> logits_of(runtime::exec::Executor& executor, const std::vector<int>& ids,
                                    std::int32_t sequence = 0, cpu::Team* team = nullptr) {
  return logits_of(executor, rows_of(ids, sequence), team);
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

inline double rms(const std::vector<float>& values) {
  double square = 0.0;
  for (const float v : values) square += static_cast<double>(v) * v;
  return std::sqrt(square / static_cast<double>(values.size()));
}

// Root of the mean square of a difference, in deviations of what is wanted.
inline double difference(const std::vector<float>& got, const std::vector<float>& want) {
  std::vector<float> minus(want.size());
  for (std::size_t i = 0; i < want.size(); ++i) minus[i] = got[i] - want[i];
  return rms(minus) / rms(want);
}

// The mean difference of the log-probabilities of each next token of ids.
inline double mean_difference(const std::vector<float>& got, const std::vector<float>& want,
                              const std::vector<int>& ids) {
  const std::size_t vocab = got.size() / ids.size();
  double mean = 0;
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
    const auto next = static_cast<std::size_t>(ids[i + 1]);
    mean +=
        std::abs(log_prob(got, vocab, i, next) - log_prob(want, vocab, i, next)) / static_cast<double>(ids.size() - 1);
  }
  return mean;
}

}  // namespace dodeca::tests
