// How much memory is left: /proc/meminfo, the memory cgroups from this process's own up to the top of what is mounted,
// and the process's own limits.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "cpu/cgroup.hpp"
#include "cpu/system_file.hpp"
#include "cpu/topology.hpp"

namespace dodeca::cpu {
namespace {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

std::uint64_t minus(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

// Limit minus use, plus file cache that the kernel would drop first.
std::uint64_t left_in_group(const std::string& directory, bool v2) {
  const auto limit = read_number(directory + (v2 ? "/memory.max" : "/memory.limit_in_bytes"));
  if (!limit) return kUnlimited;
  const std::uint64_t used = read_number(directory + (v2 ? "/memory.current" : "/memory.usage_in_bytes")).value_or(0);
  const std::string stat = read_text(directory + "/memory.stat");
  const std::string prefix = v2 ? "" : "total_";
  const std::uint64_t cache =
      find_number(stat, prefix + "inactive_file").value_or(0) + find_number(stat, prefix + "active_file").value_or(0);
  return minus(*limit, minus(used, cache));
}

std::uint64_t left_by_resource_limits() {
  // /proc/self/statm, in pages: size resident shared text lib data dt
  std::uint64_t size = 0, skipped = 0, data = 0;
  std::ifstream statm("/proc/self/statm");
  statm >> size >> skipped >> skipped >> skipped >> skipped >> data;
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  std::uint64_t left = kUnlimited;
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) left = minus(limit.rlim_cur, size * page);
  if (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    left = std::min(left, minus(limit.rlim_cur, data * page));
  }
  return left;
}

}  // namespace

std::uint64_t available_memory_bytes(const std::string& root) {
  std::uint64_t left = left_by_resource_limits();
  const std::string meminfo = read_text(root + "/proc/meminfo");
  if (const auto kib = find_number(meminfo, "MemAvailable")) left = std::min(left, *kib * 1024);
  for (const bool v2 : {false, true}) {
    if (const auto cgroup = find_cgroup(root, "memory", v2)) {
      for_each_group(*cgroup, [&](const std::string& group) { left = std::min(left, left_in_group(group, v2)); });
    }
  }
  return left;
}

}  // namespace dodeca::cpu
