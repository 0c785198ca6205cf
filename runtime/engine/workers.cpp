#include "runtime/engine/workers.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "cpu/cgroup.hpp"
#include "cpu/system_file.hpp"
#include "runtime/base/error.hpp"

namespace dodeca::runtime::engine {
namespace {

// What may keep threads from being started.
std::string thread_limits() {
  const auto limit = [](auto resource) {
    rlimit found{};
    const bool limited = ::getrlimit(resource, &found) == 0 && found.rlim_cur != RLIM_INFINITY;
    return limited ? std::to_string(found.rlim_cur) : "unlimited";
  };
  std::string text = fmt::format(
      "the limits are {} processes and threads of this user (ulimit -u), {} bytes of memory for "
      "this process (ulimit -v)",
      limit(RLIMIT_NPROC), limit(RLIMIT_AS));
  std::optional<std::uint64_t> most;
  for (const bool v2 : {true, false}) {
    const std::optional<cpu::Cgroup> group = cpu::find_cgroup("", "pids", v2);
    if (!group) continue;
    cpu::for_each_group(*group, [&](const std::string& folder) {
      const std::optional<std::uint64_t> n = cpu::read_number(folder + "/pids.max");
      if (n && (!most || *n < *most)) most = n;
    });
  }
  if (most) text += fmt::format(", {} processes and threads of this control group (pids.max)", *most);
  return text;
}

// `where`: a number of unbound members, or seats.
template <class Where>
std::unique_ptr<cpu::Team> team_of(const Where& where) {
  try {
    return std::make_unique<cpu::Team>(where);
  } catch (const cpu::ThreadsRefused& refused) {
    throw Error(ErrorKind::kDoesNotFit, fmt::format("{} threads were wanted and the system let {} start: {}",
                                                    refused.wanted, refused.given, thread_limits()))
        .with(Remedy::kFewerThreads);
  }
}

}  // namespace

int default_threads(const cpu::Topology& topology) {
  const int n_cores = std::max<int>(1, static_cast<int>(topology.cores.size()));
  if (topology.cpu_quota <= 0) return n_cores;
  return std::clamp(static_cast<int>(std::lround(topology.cpu_quota)), 1, n_cores);
}

std::unique_ptr<cpu::Team> make_team(const cpu::Topology& topology, std::int32_t n_threads, const Log& log) {
  const int n = n_threads > 0 ? n_threads : default_threads(topology);
  if (n > cpu::count_seats(topology)) {
    log(Level::kWarning, fmt::format("{} threads on {} processors: threads are not bound and will wait for each other",
                                     n, cpu::count_seats(topology)));
    return team_of(n);
  }
  try {
    return team_of(cpu::choose_seats(topology, n));
  } catch (const std::system_error& error) {
    log(Level::kWarning, fmt::format("threads are not bound to cores: {}", error.what()));
    return team_of(n);
  }
}

Workers::Workers(const cpu::Topology& topology, std::int32_t n_threads, std::int32_t n_prompt_threads, const Log& log)
    : own_generation_(make_team(topology, n_threads, log)), generation_(own_generation_.get()), prompts_(generation_) {
  if (n_prompt_threads <= 0 || n_prompt_threads == generation_->size()) return;
  own_prompts_ = make_team(topology, n_prompt_threads, log);
  prompts_ = own_prompts_.get();
}

int Workers::most_threads() const { return std::max(generation_->size(), prompts_->size()); }

}  // namespace dodeca::runtime::engine
