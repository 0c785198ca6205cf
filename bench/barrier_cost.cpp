#include "bench/barrier_cost.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "bench/statistics.hpp"
#include "bench/test_matrix.hpp"
#include "cpu/topology.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/model_options.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/engine/workers.hpp"

namespace dodeca::bench {
namespace {

using Clock = std::chrono::steady_clock;

double ns_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double, std::nano>(end - begin).count();
}

double clock_cost_ns() {
  std::vector<double> times;
  Clock::time_point before = Clock::now();
  for (int i = 0; i < 1000; ++i) {
    const Clock::time_point now = Clock::now();
    times.push_back(ns_between(before, now));
    before = now;
  }
  std::nth_element(times.begin(), times.begin() + 500, times.end());
  return times[500];
}

}  // namespace

BarrierCost summarize(std::vector<double> times_ns, double clock_ns) {
  if (times_ns.empty()) return {};
  std::sort(times_ns.begin(), times_ns.end());
  const auto at = [&](double share) {
    const auto last = static_cast<double>(times_ns.size() - 1);
    return std::max(0.0, times_ns[std::lround(share * last)] - clock_ns);
  };
  return {at(0), at(0.5), at(0.99)};
}

BarrierCost measure_barrier(cpu::Team& team, double seconds) {
  constexpr int kBatch = 1000, kMaxBatches = 1000;
  std::vector<double> times;
  times.reserve(std::size_t{kBatch} * kMaxBatches);
  const double clock_ns = clock_cost_ns();
  bool done = false;
  team.run([&](const cpu::Member& member) {
    for (int i = 0; i < kBatch; ++i) member.barrier();  // wakes everyone, settles the clock's frequency
    const Clock::time_point start = Clock::now();
    for (int batch = 0; !done; ++batch) {
      Clock::time_point before = Clock::now();
      for (int i = 0; i < kBatch; ++i) {
        member.barrier();
        if (member.index != 0) continue;
        const Clock::time_point now = Clock::now();
        times.push_back(ns_between(before, now));
        before = now;
      }
      if (member.index == 0) done = batch + 1 == kMaxBatches || ns_between(start, Clock::now()) >= seconds * 1e9;
      member.barrier();
    }
  });
  return summarize(std::move(times), clock_ns);
}

EntryCost measure_entry(cpu::Team& team, double seconds) {
  const auto median_us = [&](std::chrono::microseconds spin) {
    const std::chrono::microseconds before = team.idle_spin();
    team.set_idle_spin(spin);
    std::vector<double> times;
    const Clock::time_point first = Clock::now();
    while (times.size() < 5 || ns_between(first, Clock::now()) < seconds / 2 * 1e9) {
      const Clock::time_point left = Clock::now();
      while (Clock::now() - left < std::chrono::milliseconds(1)) continue;
      const Clock::time_point begin = Clock::now();
      team.run([](const cpu::Member&) {});
      times.push_back(ns_between(begin, Clock::now()) / 1e3);
    }
    team.set_idle_spin(before);
    return median(times);
  };
  return {.asleep_us = median_us(cpu::Team::kIdleSpin), .awake_us = median_us(std::chrono::milliseconds(100))};
}

int cmd_barrier(std::span<const std::string> args) {
  runtime::cli::Options options(
      "dodeca-bench barrier",
      "Measures what the team's barrier between two phases costs, what the barriers of one token\n"
      "add up to, and what it costs to begin a token after a millisecond of other work, with threads that\n"
      "slept and with threads that stayed awake (--poll of run and batch).",
      "dodeca-bench barrier\n"
      "  dodeca-bench barrier -t 1,2,4-16*2 -o json\n"
      "  dodeca-bench barrier --layers 27 --phases 10");
  runtime::cli::Console console;
  std::vector<std::string> thread_texts;
  std::string output = "md";
  double seconds = 0.5;
  std::int64_t n_layers = 61, n_phases = 9;
  options.values("-t,--threads", thread_texts, "team sizes, lists and ranges (default: 2, 4, 8 ... all cores)", "N");
  options.value("--seconds", seconds, "time for each team size (default: 0.5)", {0.001, 3600});
  options.value("--layers", n_layers, "of the token that is summed up (default: 61)", {1, 10000});
  options.value("--phases", n_phases, "barriers per layer (default: 9)", {1, 1000});
  options.choice("-o,--output", output, {"md", "json"}, "format (default: md)");
  console.add_flags(options);
  options.parse(args);

  const cpu::Topology topology = cpu::read_topology();
  const auto n_cores = std::max<std::int64_t>(1, static_cast<std::int64_t>(topology.cores.size()));
  std::vector<std::int64_t> counts = parse_ranges(options.spelling("-t"), thread_texts, 1, 4096);
  if (counts.empty()) {
    for (std::int64_t n = 2; n < n_cores; n *= 2) counts.push_back(n);
    counts.push_back(n_cores);
  }
  console.info(fmt::format("{}, {} cores", topology.cpu_model, n_cores));
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  const std::string per_token = fmt::format("us per token of {} x {}", n_layers, n_phases);
  if (output == "md")
    runtime::cli::print_out(
        fmt::format("| threads |  min ns | median ns |    p99 ns | {} | us asleep | us awake |\n"
                    "| ------: | ------: | --------: | --------: | {:->{}}: | --------: | -------: |\n",
                    per_token, "", per_token.size() - 1));
  for (const std::int64_t n : counts) {
    runtime::cli::throw_if_stopped();
    const auto team = runtime::engine::make_team(static_cast<std::int32_t>(n), console.log());
    const BarrierCost cost = measure_barrier(*team, seconds);
    const EntryCost entry = measure_entry(*team, seconds / 2);
    const double token_us = cost.token_us(n_layers, n_phases);
    if (output == "md") {
      runtime::cli::print_out(fmt::format("| {:7} | {:7.0f} | {:9.0f} | {:9.0f} | {:>{}.1f} | {:9.1f} | {:8.1f} |\n", n,
                                          cost.min_ns, cost.median_ns, cost.p99_ns, token_us, per_token.size(),
                                          entry.asleep_us, entry.awake_us));
      runtime::cli::flush_out();
    }
    rows.push_back({{"threads", n},
                    {"min_ns", cost.min_ns},
                    {"median_ns", cost.median_ns},
                    {"p99_ns", cost.p99_ns},
                    {"layers", n_layers},
                    {"phases", n_phases},
                    {"us_per_token", token_us},
                    {"entry_asleep_us", entry.asleep_us},
                    {"entry_awake_us", entry.awake_us},
                    {"cpu_info", topology.cpu_model}});
  }
  if (output == "json") runtime::cli::print_out(rows.dump(2) + "\n");
  return 0;
}

}  // namespace dodeca::bench
