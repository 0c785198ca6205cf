// Prompt processing and token generation as llama-bench defines them: random tokens, a warm-up, then timed repetitions
// from the same cache state; no tokenization, no sampling.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bench/report.hpp"
#include "cpu/team.hpp"
#include "cpu/topology.hpp"
#include "runtime/cli/model_options.hpp"
#include "runtime/engine/energy_meter.hpp"

namespace dodeca::bench {

struct RunOptions {
  std::int64_t repetitions = 5;
  std::int64_t delay_seconds = 0;
  bool warmup = true;
  bool measure_limits = true;  // memory bandwidth and arithmetic peaks
  bool trace = false;          // time the phases of the timed passes
  bool logits = true;          // false: without the output matrix, to time it apart
  double accepted = -1;        // 0 to 1: generates with a draft per token, of which this share is taken; -1: without
  std::uint64_t seed = 1;
};

struct OpenedModel {
  std::shared_ptr<const runtime::WeightSource> source;
  std::string type_text;  // as Result::model_type
  // What to say when the weights and `extra_bytes` of cache and work space do not fit; empty: the loader's own words.
  std::function<std::string(std::uint64_t extra_bytes)> too_large = {};
};
// Test::model in, weights out.
using Opener = std::function<OpenedModel(const std::string& model)>;
// For files and directories.
Opener file_opener(const runtime::cli::ModelOptions& model, const runtime::cli::Console& console);

class Throughput {
 public:
  // model: isa, compute and onednn are taken from it. say: progress, one line each.
  Throughput(const runtime::cli::ModelOptions& model, const RunOptions& options, Opener open,
             const runtime::cli::Console& console, std::function<void(std::string_view)> say);
  ~Throughput();
  // Loads the test's model unless it is the one of the test before. Throws runtime::Error; runtime::Stopped after a
  // signal.
  void load(const Test& test);
  // Loads and measures.
  Result run(const Test& test);
  // Nanoseconds that the output matrix takes for n_rows rows at once: medians with it and without, alternating. Loads.
  double output_ns(const Test& test, std::int64_t n_rows);

 private:
  struct Loaded;
  cpu::Team& team(int n_threads);
  double bandwidth(int n_threads);
  Macs peak(int n_threads);
  // The test's model with a new cache and work space.
  runtime::exec::Executor& start(const Test& test, const runtime::exec::ExecutorOptions& options);
  Result describe(const Test& test);
  void count_work(runtime::exec::Executor& executor, const runtime::exec::Trace& trace, Result& result) const;
  void prompt(runtime::exec::Executor& executor, std::int32_t sequence, std::int64_t n, std::int64_t n_batch,
              cpu::Team& team);
  void generate(runtime::exec::Executor& executor, std::int64_t n, cpu::Team& team);  // every sequence
  // The same with a draft per sequence and step, counted in `run`.
  void generate_drafting(runtime::exec::Executor& executor, std::int64_t n, cpu::Team& team, DraftRun& run);
  void measure_drafts(runtime::exec::Executor& executor, cpu::Team& team, Result& result);
  void measure_sides(runtime::exec::Executor& executor, cpu::Team& team, Result& result);
  std::int32_t random_token();

  const runtime::cli::ModelOptions& model_options_;
  RunOptions options_;
  Opener open_;
  const runtime::cli::Console& console_;
  std::function<void(std::string_view)> say_;
  runtime::NumaChoice choice_;
  std::uint64_t random_state_;
  int warned_threads_ = 0;  // for so many the memory's settings were looked at
  std::map<int, std::unique_ptr<cpu::Team>> teams_;
  std::map<int, double> bandwidths_;
  std::map<int, Macs> peaks_;
  std::shared_ptr<gpu::Device> card_;  // null: none was asked for
  std::unique_ptr<runtime::engine::EnergyMeter> energy_;
  std::unique_ptr<Loaded> loaded_;
  std::mt19937_64 accepted_{1};
};

// "deepseek2 671B Q2_K - Medium", in llama.cpp's words: architecture, size class, file type.
std::string model_type_text(const runtime::WeightSource& source);

}  // namespace dodeca::bench
