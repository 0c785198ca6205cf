// How much memory is left: /proc/meminfo, the memory cgroups from this process's own up to the top of what is mounted,
// and the process's own limits.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/topology.hpp"

namespace dodeca::cpu {
namespace {

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

std::uint64_t minus(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::optional<std::uint64_t> to_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

// A file that holds one number; "max" and absence give nothing.
std::optional<std::uint64_t> read_number(const std::string& path) { return to_number(read_text(path)); }

// The number after `key` at the start of a line: "MemAvailable:   123 kB", "inactive_file 4096".
std::optional<std::uint64_t> find_number(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t digit = line.find_first_not_of(" \t:", key.size());
    if (digit == key.size() || digit == std::string::npos) continue;
    return to_number(std::string_view(line).substr(digit));
  }
  return std::nullopt;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

// A mounted memory hierarchy and where this process stands in it.
struct Hierarchy {
  bool v2;
  std::string mount;  // directory, without a trailing slash
  std::string path;   // below it: "" or "/a/b"
};

std::optional<Hierarchy> find_hierarchy(const std::string& root, bool v2) {
  // /proc/self/cgroup: "0::/a/b" (v2) or "4:memory:/a/b" (v1).
  std::optional<std::string> path;
  for (const std::string& line : split(read_text(root + "/proc/self/cgroup"), '\n')) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (v2 ? controllers.empty() : contains(split(controllers, ','), "memory")) path = line.substr(second + 1);
  }
  if (!path) return std::nullopt;
  // /proc/self/mountinfo: id parent major:minor root mount_point options [tags] - type source super_options
  for (const std::string& line : split(read_text(root + "/proc/self/mountinfo"), '\n')) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> left = split(line.substr(0, dash), ' ');
    const std::vector<std::string> right = split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    if (right[0] != (v2 ? "cgroup2" : "cgroup") || (!v2 && !contains(split(right[2], ','), "memory"))) continue;
    Hierarchy found{v2, root + left[4], *path};
    // A container may see only a part of the tree: what is mounted begins at left[3].
    const std::string& top = left[3];
    if (top != "/") found.path = path->starts_with(top) ? path->substr(top.size()) : "";
    while (found.path.ends_with('/')) found.path.pop_back();
    return found;
  }
  return std::nullopt;
}

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

std::uint64_t left_in_hierarchy(const Hierarchy& hierarchy) {
  std::uint64_t left = kUnlimited;
  std::string path = hierarchy.path;
  while (true) {
    left = std::min(left, left_in_group(hierarchy.mount + path, hierarchy.v2));
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return left;
    path.resize(slash);
  }
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
    if (const auto hierarchy = find_hierarchy(root, v2)) left = std::min(left, left_in_hierarchy(*hierarchy));
  }
  return left;
}

}  // namespace dodeca::cpu
