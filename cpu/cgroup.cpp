#include "cpu/cgroup.hpp"

#include <algorithm>
#include <sstream>
#include <vector>

#include "cpu/system_file.hpp"

namespace dodeca::cpu {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

bool contains(const std::vector<std::string>& list, std::string_view item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

}  // namespace

std::optional<Cgroup> find_cgroup(const std::string& root, std::string_view controller, bool v2) {
  // /proc/self/cgroup: "0::/a/b" (v2) or "4:memory:/a/b" (v1).
  std::optional<std::string> path;
  for (const std::string& line : split(read_text(root + "/proc/self/cgroup"), '\n')) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (v2 ? controllers.empty() : contains(split(controllers, ','), controller)) path = line.substr(second + 1);
  }
  if (!path) return std::nullopt;
  // /proc/self/mountinfo: id parent major:minor root mount_point options [tags] - type source super_options
  for (const std::string& line : split(read_text(root + "/proc/self/mountinfo"), '\n')) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> left = split(line.substr(0, dash), ' ');
    const std::vector<std::string> right = split(line.substr(dash + 3), ' ');
    if (left.size() < 5 || right.size() < 3) continue;
    if (right[0] != (v2 ? "cgroup2" : "cgroup") || (!v2 && !contains(split(right[2], ','), controller))) continue;
    Cgroup found{v2, root + left[4], *path};
    // A container may see only a part of the tree: what is mounted begins at left[3].
    const std::string& top = left[3];
    if (top != "/") found.path = (*path + '/').starts_with(top + '/') ? path->substr(top.size()) : "";
    while (found.path.ends_with('/')) found.path.pop_back();
    return found;
  }
  return std::nullopt;
}

}  // namespace dodeca::cpu
