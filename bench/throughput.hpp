// Prompt processing and token generation as llama-bench defines them: random tokens, a warm-up, then timed repetitions
// from the same cache state; no tokenization, no sampling.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/report.hpp"
#include "cpu/team.hpp"
#include "cpu/topology.hpp"
#include "runtime/cli/model_options.hpp"

namespace dodeca::bench {

struct RunOptions {
  std::int64_t repetitions = 5;
  std::int64_t delay_seconds = 0;
  bool warmup = true;
  bool measure_bandwidth = true;
  std::uint64_t seed = 1;
};

class Throughput {
 public:
  // model: isa, compute, override_kv and plain_topk are taken from it. say: progress, one line each.
  Throughput(const runtime::cli::ModelOptions& model, const RunOptions& options, const runtime::cli::Console& console,
             std::function<void(std::string_view)> say);
  ~Throughput();
  // Loads the test's model unless it is the one of the test before. Throws runtime::Error; runtime::Stopped after a
  // signal.
  void load(const Test& test);
  // Loads and measures.
  Result run(const Test& test);

 private:
  struct Loaded;
  cpu::Team& team(int n_threads);
  double bandwidth(int n_threads);
  void prompt(runtime::Executor& executor, std::int64_t n, std::int64_t n_batch, cpu::Team& team);
  void generate(runtime::Executor& executor, std::int64_t n, cpu::Team& team);
  std::int32_t random_token();

  const runtime::cli::ModelOptions& model_options_;
  RunOptions options_;
  const runtime::cli::Console& console_;
  std::function<void(std::string_view)> say_;
  cpu::Topology topology_;
  std::uint64_t random_state_;
  std::map<int, std::unique_ptr<cpu::Team>> teams_;
  std::map<int, double> bandwidths_;
  std::unique_ptr<Loaded> loaded_;
};

// "deepseek2 671B Q2_K - Medium", in llama.cpp's words: architecture, size class, file type.
std::string model_type_text(const runtime::WeightSource& source);

}  // namespace dodeca::bench
