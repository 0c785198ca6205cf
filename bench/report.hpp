// What a benchmark reports and how: llama-bench's table and result files field by field, followed by what memory makes
// of it (bytes per token, GB/s, share of the measured read bandwidth).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/draft_run.hpp"
#include "bench/extrapolation.hpp"
#include "bench/hybrid_parts.hpp"
#include "bench/test_matrix.hpp"
#include "runtime/exec/trace.hpp"
#include "runtime/predict/token_work.hpp"

namespace dodeca::bench {

using runtime::predict::Macs;

// Constant over a run.
struct Environment {
  std::string cpu_model, build_commit, compiler, isa, huge_pages;
  std::int64_t build_number = 0;
  int n_nodes = 1, n_cores = 1;
  std::uint64_t seed = 0;
};

struct Result {
  Test test;
  std::string model_type;        // "deepseek2 671B Q2_K - Medium"
  std::string card = {};         // its name; empty: none is used
  std::uint64_t model_size = 0;  // bytes of all tensors
  std::uint64_t model_n_params = 0;
  std::string test_time;  // ISO 8601, UTC
  std::vector<std::uint64_t> samples_ns;
  double bytes_per_token = 0;          // weights and cache read for one generated token at this depth; 0 for prompts
  double experts_touched = 0;          // distinct ones per MoE layer and step of generation, on average
  double experts_expected = 0;         // the same if all experts were alike likely
  std::int64_t n_experts = 0;          // routed, per MoE layer
  Macs macs;                           // products in one repetition of a prompt test; 0 for generation
  Macs attention_macs;                 // over the cache for one generated token; 0 for prompts
  Macs peak;                           // measured with as many threads, per second; 0: not measured
  double read_bandwidth = 0;           // measured with as many threads, bytes/s; 0: not measured
  std::uint64_t cache_bytes = 0;       // last-level caches together: weights that fit are not read from memory
  std::optional<Extrapolation> whole;  // when only some layers are held
  std::optional<HybridParts> parts;    // of generation with experts in memory and a card
  std::optional<DraftRun> drafts;      // with --mtp-accept
  double joules_per_token = 0;         // of the packages and the card; 0: not counted here
  std::string no_joules = {};          // why not
  double hot_percent = -1;  // of the choices of layers with slots for hot experts: taken by the card; -1: no slots
  double streamed_percent =
      -1;  // of the (row, expert) pairs of layers that streamed: on the card; -1: nothing streamed
  double streamed_bytes_per_s = 0;    // over the link, on average of the whole time
  runtime::exec::Trace trace;         // with --trace: of the timed passes
  std::vector<std::string> refusals;  // with --trace: kernels that do not run here, and why

  double mean_ns() const;
  double stddev_ns() const;  // of the sample: n - 1
  std::vector<double> tokens_per_second() const;
  double mean_tps() const;
  double stddev_tps() const;
  double bytes_per_second() const { return bytes_per_token * mean_tps(); }
  double macs_per_second() const;
  // Share of the speed at which the arithmetic units alone would do a prompt's products.
  double peak_percent() const;
  // Seconds that one generated token takes at least: its bytes at the measured bandwidth, then attention's arithmetic at
  // the measured peak. 0 where one of them was not measured.
  double token_limit_seconds() const;
  double whole_tps() const;  // of the whole model; 0 without `whole`
  double bandwidth_percent() const { return read_bandwidth > 0 ? 100 * bytes_per_second() / read_bandwidth : 0; }
};

enum class Format { kNone, kMarkdown, kJson, kJsonl, kCsv, kSql };

class Report {
 public:
  using Write = std::function<void(std::string_view)>;
  virtual ~Report() = default;
  virtual void begin() {}
  virtual void add(const Result& result) = 0;
  virtual void end() {}
};
// axes decide the table's columns. default_threads: what a table without -t shows. Null for kNone.
std::unique_ptr<Report> make_report(Format format, const Axes& axes, const Environment& environment,
                                    Report::Write write);

}  // namespace dodeca::bench
