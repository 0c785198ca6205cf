#include "bench/cmd_sample.hpp"

#include <fmt/core.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "bench/statistics.hpp"
#include "bench/test_matrix.hpp"
#include "cpu/topology.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/engine/workers.hpp"
#include "runtime/sample/sample_rows.hpp"

namespace dodeca::bench {
namespace {

constexpr std::size_t kTokensSeen = 64;  // by the penalties

struct SamplingCase {
  const char* name;
  runtime::SamplerOptions options = {};
  std::int64_t n_logprobs = -1;
};

std::vector<SamplingCase> sampling_cases() {
  SamplingCase greedy{"greedy"}, defaults{"defaults"}, penalties{"defaults, penalties"}, nucleus{"top-p without top-k"},
      scored{"defaults, 5 logprobs"};
  greedy.options.temperature = 0;
  penalties.options.repeat_penalty = 1.1;
  penalties.options.frequency_penalty = 0.1;
  nucleus.options.top_k = 0;
  scored.n_logprobs = 5;
  return {greedy, defaults, penalties, nucleus, scored};
}

// A step's logits, as wide as a model's.
class Step {
 public:
  Step(std::int64_t vocab, std::int64_t n_sequences) {
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal(0, 2.5f);
    logits_.resize(static_cast<std::size_t>(n_sequences), std::vector<float>(static_cast<std::size_t>(vocab)));
    for (std::vector<float>& row : logits_)
      for (float& logit : row) logit = normal(random);
  }

  // Median of as many steps as fit into `seconds`, at least 5.
  double seconds_per_step(const SamplingCase& what, cpu::Team& team, double seconds) {
    using Clock = std::chrono::steady_clock;
    std::vector<runtime::Sampler> samplers;
    for (std::size_t i = 0; i < logits_.size(); ++i) {
      runtime::SamplerOptions options = what.options;
      options.seed = i;
      samplers.emplace_back(options);
      for (std::size_t t = 0; t < kTokensSeen; ++t)
        samplers.back().accept(static_cast<std::int32_t>(t * 37 % logits_[i].size()));
    }
    std::vector<double> times;
    const Clock::time_point first = Clock::now();
    for (Clock::time_point begin = first; times.size() < 5 || begin - first < std::chrono::duration<double>(seconds);) {
      std::vector<runtime::SampledRow> rows(logits_.size());
      for (std::size_t i = 0; i < rows.size(); ++i)
        rows[i] = {.sampler = &samplers[i], .logits = logits_[i], .banned = {}, .n_logprobs = what.n_logprobs};
      runtime::sample_rows(rows, &team);
      const Clock::time_point end = Clock::now();
      times.push_back(std::chrono::duration<double>(end - begin).count());
      begin = end;
    }
    return median(times);
  }

 private:
  std::vector<std::vector<float>> logits_;
};

}  // namespace

int cmd_sample(std::span<const std::string> args) {
  runtime::cli::Options options(
      "dodeca-bench sample",
      "Measures the time from the logits of a step to its tokens, by all members of a team, for several settings.",
      "dodeca-bench sample\n  dodeca-bench sample -t 1,8 --parallel 1,32 --vocab 129280");
  runtime::cli::Console console;
  std::vector<std::string> thread_texts, parallel_texts;
  std::string output = "md";
  double seconds = 0.2;
  std::int64_t vocab = 129'280;
  options.values("-t,--threads", thread_texts, "team sizes, lists and ranges (default: 1 and all cores)", "N");
  options.values("--parallel", parallel_texts, "sequences that are sampled together (default: 1,32)", "N");
  options.value("--vocab", vocab, "logits of a sequence (default: 129280)", {1, 1 << 24});
  options.value("--seconds", seconds, "time for each line (default: 0.2)", {0.001, 3600});
  options.choice("-o,--output", output, {"md", "json"}, "format (default: md)");
  console.add_flags(options);
  options.parse(args);

  const auto numbers = [&](const char* name, const std::vector<std::string>& texts,
                           const std::vector<std::int64_t>& standard) {
    const std::vector<std::int64_t> all = parse_ranges(options.spelling(name), texts, 1, 4096);
    return all.empty() ? standard : all;
  };
  const cpu::Topology topology = cpu::read_topology();
  const std::int64_t n_default = runtime::engine::default_threads(topology);
  const std::vector<std::int64_t> threads = numbers(
      "-t", thread_texts, n_default > 1 ? std::vector<std::int64_t>{1, n_default} : std::vector<std::int64_t>{1});
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  if (output == "md")
    runtime::cli::print_out(
        fmt::format("{}, {} logits\n\n| {:<20} | sequences | threads |       ms |\n"
                    "| :{:-<19} | --------: | ------: | -------: |\n",
                    topology.cpu_model, vocab, "sampling", ""));
  for (const std::int64_t n_sequences : numbers("--parallel", parallel_texts, {1, 32})) {
    Step step(vocab, n_sequences);
    for (const std::int64_t n : threads) {
      const auto team = runtime::engine::make_team(static_cast<std::int32_t>(n), console.log());
      for (const SamplingCase& what : sampling_cases()) {
        runtime::cli::throw_if_stopped();
        const double ms = 1e3 * step.seconds_per_step(what, *team, seconds);
        if (output == "md") {
          runtime::cli::print_out(fmt::format("| {:<20} | {:9} | {:7} | {:8.3f} |\n", what.name, n_sequences, n, ms));
          runtime::cli::flush_out();
        }
        rows.push_back({{"sampling", what.name},
                        {"vocab", vocab},
                        {"sequences", n_sequences},
                        {"threads", n},
                        {"ms", ms},
                        {"cpu_info", topology.cpu_model}});
      }
    }
  }
  if (output == "json") runtime::cli::print_out(rows.dump(2) + "\n");
  return 0;
}

}  // namespace dodeca::bench
