#include "runtime/cli/thread_choice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "cpu/bandwidth.hpp"
#include "cpu/memory.hpp"
#include "cpu/seats.hpp"
#include "runtime/base/own_file.hpp"
#include "runtime/engine/workers.hpp"
#include "runtime/load/json.hpp"

namespace dodeca::runtime::cli {
namespace {

constexpr int kThreadFileVersion = 1;
constexpr std::uint64_t kMostThreadFileBytes = 1 << 20;
constexpr std::int32_t kFewCores = 4;  // all of them are needed to reach what memory gives
// Types of few bits need the arithmetic of all cores, so fewer threads must read clearly faster.
constexpr double kClearlyFaster = 1.03;
constexpr double kSecondsPerCount = 0.03;

int count_l3(const cpu::Topology& topology) {
  std::set<int> l3s;
  for (const cpu::Core& core : topology.cores) l3s.insert(core.l3);
  return std::max<int>(1, static_cast<int>(l3s.size()));
}

// "0-3,8": which hardware threads, in short.
std::string ranges_of(const std::set<int>& numbers) {
  std::string text;
  for (auto it = numbers.begin(); it != numbers.end();) {
    const int first = *it;
    int last = first;
    for (++it; it != numbers.end() && *it == last + 1; ++it) ++last;
    text += (text.empty() ? "" : ",") + (first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last));
  }
  return text;
}

std::vector<std::int32_t> counts_to_try(std::int32_t n, int n_l3) {
  std::vector<std::int32_t> counts = {n};
  for (const std::int32_t wanted : {n * 3 / 4, n / 2}) {
    const std::int32_t even = (wanted + n_l3 - 1) / n_l3 * n_l3;
    if (even < counts.back()) counts.push_back(even);
  }
  return counts;
}

// The file's entries by machine; empty for a file that is not there or not ours.
Json read_machines(const std::filesystem::path& file, const Log& log) {
  std::error_code ignored;
  if (file.empty() || !std::filesystem::exists(file, ignored)) return Json::object();
  try {
    const Json root = read_json(file, kMostThreadFileBytes);
    if (root.is_object() && root.value("dodeca_threads", 0) == kThreadFileVersion && root.contains("machines") &&
        root["machines"].is_object())
      return root["machines"];
    log(Level::kDetail, fmt::format("{} is left out: it is of another version", file.string()));
  } catch (const std::exception& error) {
    log(Level::kDetail, fmt::format("{} is left out: {}", file.string(), error.what()));
  }
  return Json::object();
}

void write_machine(const ThreadChoice& choice, const std::string& key, const std::filesystem::path& file,
                   const Log& log) {
  if (file.empty()) return;
  try {
    Json machines = read_machines(file, log);
    machines[key] = {{"generation", choice.generation}, {"prompts", choice.prompts}, {"reason", choice.reason}};
    std::filesystem::create_directories(file.parent_path());
    check_own_file(file);
    write_json({{"dodeca_threads", kThreadFileVersion}, {"machines", machines}}, file);
  } catch (const std::exception& error) {
    log(Level::kDetail, fmt::format("the number of threads is not kept: {}", error.what()));
  }
}

}  // namespace

ReadRate read_rate_of(const cpu::Topology& topology) {
  constexpr std::uint64_t kLeastBytes = 256u << 20;
  const std::uint64_t caches = topology.l3_bytes * static_cast<std::uint64_t>(count_l3(topology));
  const std::uint64_t bytes = std::min(std::max(2 * caches, kLeastBytes), cpu::available_memory_bytes() / 4);
  const auto buffer = std::make_shared<std::unique_ptr<cpu::Buffer>>();
  return [bytes, buffer, topology](std::int32_t n_threads) {
    if (!*buffer) *buffer = std::make_unique<cpu::Buffer>(bytes);
    const auto team = engine::make_team(topology, n_threads, [](Level, std::string_view) {});
    return cpu::read_bandwidth(*team, **buffer, kSecondsPerCount);
  };
}

ThreadChoice choose_threads(const cpu::Topology& topology, const ReadRate& rate) {
  const std::int32_t n = engine::default_threads(topology);
  ThreadChoice choice{n, n, {}, false};
  const bool all_cores = n == std::ssize(topology.cores);
  const std::string all = all_cores ? fmt::format("all {} core{}", n, n == 1 ? "" : "s")
                                    : fmt::format("{} of {} cores, as control groups grant no more processor time", n,
                                                  topology.cores.size());
  choice.reason = all;
  if (n <= kFewCores) return choice;
  std::string rates;
  try {
    double all_rate = 0, best_rate = 0;
    for (const std::int32_t count : counts_to_try(n, count_l3(topology))) {
      const double measured = rate(count);
      if (count == n) all_rate = best_rate = measured;
      if (measured > kClearlyFaster * all_rate && measured > best_rate) {
        choice.generation = count;
        best_rate = measured;
      }
      rates += fmt::format("{}{:.0f} GB/s with {}", rates.empty() ? "" : ", ", measured / 1e9, count);
    }
  } catch (const std::exception& error) {
    choice.reason = fmt::format("{}; memory could not be measured: {}", all, error.what());
    return choice;
  }
  choice.measured = true;
  choice.reason = choice.generation == n ? fmt::format("{}; fewer read no faster ({})", all, rates)
                                         : fmt::format("more read more slowly ({}); prompts take {}", rates, all);
  return choice;
}

std::string machine_key(const cpu::Topology& topology) {
  std::set<int> pus;
  for (const cpu::Core& core : topology.cores) {
    pus.insert(core.first_pu);
    pus.insert(core.siblings.begin(), core.siblings.end());
  }
  return fmt::format("{}; {} cores, {} L3s of {} KiB, {} nodes; processors {}; quota {:.2f}", topology.cpu_model,
                     topology.cores.size(), count_l3(topology), topology.l3_bytes >> 10, topology.nodes.size(),
                     ranges_of(pus), topology.cpu_quota);
}

std::filesystem::path thread_cache_file() {
  const auto environment = [](const char* name) {
    const char* value = std::getenv(name);
    return std::filesystem::path(value == nullptr ? "" : value);
  };
  std::filesystem::path folder = environment("XDG_CACHE_HOME");
  if (const std::filesystem::path home = environment("HOME"); !folder.is_absolute() && home.is_absolute())
    folder = home / ".cache";
  return folder.is_absolute() ? folder / "dodeca" / "threads.json" : std::filesystem::path();
}

ThreadChoice cached_threads(const cpu::Topology& topology, const std::filesystem::path& file, const ReadRate& rate,
                            const Log& log) {
  const std::int32_t n = engine::default_threads(topology);
  if (n <= kFewCores) return choose_threads(topology, rate);
  const Json machines = read_machines(file, log);
  if (const auto found = machines.find(machine_key(topology)); found != machines.end()) {
    try {
      ThreadChoice choice{found->at("generation").get<std::int32_t>(), found->at("prompts").get<std::int32_t>(),
                          found->at("reason").get<std::string>(), true};
      const auto fits = [&](std::int32_t count) { return count >= 1 && count <= n; };
      if (fits(choice.generation) && fits(choice.prompts)) return choice;
    } catch (const std::exception&) {
      log(Level::kDetail, fmt::format("{} does not say how many threads; they are chosen anew", file.string()));
    }
  }
  return refresh_threads(topology, file, rate, log);
}

ThreadChoice refresh_threads(const cpu::Topology& topology, const std::filesystem::path& file, const ReadRate& rate,
                             const Log& log) {
  ThreadChoice choice = choose_threads(topology, rate);
  if (choice.measured) write_machine(choice, machine_key(topology), file, log);
  return choice;
}

std::string threads_text(const ThreadChoice& choice) {
  if (choice.generation == choice.prompts) return fmt::format("threads: {}: {}", choice.generation, choice.reason);
  return fmt::format("threads: {} for generation, {} for prompts: {}", choice.generation, choice.prompts,
                     choice.reason);
}

}  // namespace dodeca::runtime::cli
