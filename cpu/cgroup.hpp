// Where this process stands in a control group hierarchy, v1 or v2, and the files of the groups above it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dodeca::cpu {

struct Cgroup {
  bool v2;
  std::string mount;  // directory where the hierarchy begins for us
  std::string path;   // of our group below it: "" or "/a/b"
};

// `root` is put before /proc and /sys (tests). Nothing when there is no such hierarchy.
std::optional<Cgroup> find_cgroup(const std::string& root, std::string_view controller, bool v2);

// Calls visit(directory) for our group and every group above it, innermost first.
template <class Visit>
void for_each_group(const Cgroup& cgroup, Visit&& visit) {
  std::string path = cgroup.path;
  while (true) {
    visit(cgroup.mount + path);
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return;
    path.resize(slash);
  }
}

}  // namespace dodeca::cpu
