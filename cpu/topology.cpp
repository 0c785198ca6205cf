#include "cpu/topology.hpp"

#include <hwloc.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <tuple>

#include "cpu/cgroup.hpp"
#include "cpu/system_file.hpp"

namespace dodeca::cpu {
namespace {

struct Destroy {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
  void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using TopologyHandle = std::unique_ptr<hwloc_topology, Destroy>;
using Bitmap = std::unique_ptr<hwloc_bitmap_s, Destroy>;

TopologyHandle make_handle() {
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) {
    throw std::runtime_error(std::string("the processors of this machine cannot be read: ") + std::strerror(errno));
  }
  return TopologyHandle(topology);
}

// What cgroups allow (hwloc leaves the rest out) and, on the running machine, this process's affinity.
Bitmap usable_pus(hwloc_topology_t topology) {
  Bitmap usable(hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology)));
  if (hwloc_topology_is_thissystem(topology) != 0) {
    const Bitmap bound(hwloc_bitmap_alloc());
    if (hwloc_get_cpubind(topology, bound.get(), HWLOC_CPUBIND_PROCESS) == 0 &&
        hwloc_bitmap_intersects(bound.get(), usable.get()) != 0) {
      hwloc_bitmap_and(usable.get(), usable.get(), bound.get());
    }
  }
  return usable;
}

std::uint64_t cache_bytes(hwloc_topology_t topology, hwloc_obj_type_t type) {
  const hwloc_obj_t cache = hwloc_get_obj_by_type(topology, type, 0);
  return cache == nullptr ? 0 : cache->attr->cache.size;
}

// The OS index of the memory node nearest to a core: of those that share its processors, the first that has memory.
int home_node(hwloc_topology_t topology, hwloc_obj_t core) {
  int home = -1;
  hwloc_obj_t node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr) {
    if (hwloc_bitmap_isset(core->nodeset, node->os_index) == 0) continue;
    if (node->attr->numanode.local_memory > 0) return static_cast<int>(node->os_index);
    if (home < 0) home = static_cast<int>(node->os_index);
  }
  return home;
}

struct FoundCore {
  int first_pu, node, l3;  // node: OS index; l3: hwloc's index
  std::vector<int> siblings;
};

std::vector<FoundCore> find_cores(hwloc_topology_t topology, hwloc_const_bitmap_t usable) {
  // Virtual machines may show no cores; then every hardware thread counts as one.
  const bool has_cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0;
  const hwloc_obj_type_t type = has_cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
  const Bitmap mine(hwloc_bitmap_alloc());
  std::vector<FoundCore> cores;
  hwloc_obj_t core = nullptr;
  while ((core = hwloc_get_next_obj_by_type(topology, type, core)) != nullptr) {
    hwloc_bitmap_and(mine.get(), core->cpuset, usable);
    if (hwloc_bitmap_iszero(mine.get()) != 0) continue;
    hwloc_obj_t group = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_L3CACHE, core);
    if (group == nullptr) group = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_PACKAGE, core);
    const int first = hwloc_bitmap_first(mine.get());
    cores.push_back(
        {first, home_node(topology, core), group == nullptr ? 0 : static_cast<int>(group->logical_index), {}});
    for (int pu = hwloc_bitmap_next(mine.get(), first); pu >= 0; pu = hwloc_bitmap_next(mine.get(), pu))
      cores.back().siblings.push_back(pu);
  }
  return cores;
}

Topology describe(hwloc_topology_t topology) {
  Topology result;
  result.this_system = hwloc_topology_is_thissystem(topology) != 0;
  const hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
  const hwloc_obj_t named = package != nullptr ? package : hwloc_get_root_obj(topology);
  if (const char* model = hwloc_obj_get_info_by_name(named, "CPUModel")) result.cpu_model = model;
  result.l2_bytes = cache_bytes(topology, HWLOC_OBJ_L2CACHE);
  result.l3_bytes = cache_bytes(topology, HWLOC_OBJ_L3CACHE);

  std::vector<FoundCore> cores = find_cores(topology, usable_pus(topology).get());
  if (cores.empty()) throw std::runtime_error("hwloc shows no usable core");
  std::map<int, int> node_index;  // OS index -> index into result.nodes
  const auto add_nodes = [&](bool only_with_cores) {
    hwloc_obj_t node = nullptr;
    while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr) {
      const int os_index = static_cast<int>(node->os_index);
      const bool has_core =
          std::any_of(cores.begin(), cores.end(), [&](const FoundCore& c) { return c.node == os_index; });
      if (only_with_cores && !has_core) continue;
      node_index[os_index] = static_cast<int>(result.nodes.size());
      result.nodes.push_back({os_index, node->attr->numanode.local_memory});
    }
  };
  add_nodes(true);
  if (result.nodes.empty()) add_nodes(false);
  if (result.nodes.empty()) result.nodes.push_back({0, 0});

  const auto index_of = [&](int os_index) {
    const auto found = node_index.find(os_index);
    return found == node_index.end() ? 0 : found->second;
  };
  std::stable_sort(cores.begin(), cores.end(), [&](const FoundCore& a, const FoundCore& b) {
    return std::tuple(index_of(a.node), a.l3) < std::tuple(index_of(b.node), b.l3);
  });
  std::map<int, int> l3_index;  // counted without gaps, in the order of the cores
  for (const FoundCore& core : cores) {
    const int l3 = l3_index.emplace(core.l3, static_cast<int>(l3_index.size())).first->second;
    result.cores.push_back({core.first_pu, index_of(core.node), l3, core.siblings});
  }
  return result;
}

}  // namespace

Topology read_topology() {
  const TopologyHandle topology = make_handle();
  if (hwloc_topology_load(topology.get()) != 0) {
    throw std::runtime_error(std::string("the processors of this machine cannot be read: ") + std::strerror(errno));
  }
  Topology result = describe(topology.get());
  if (result.this_system) result.cpu_quota = cpu_quota();
  return result;
}

double cpu_quota(const std::string& root) {
  double quota = 0;
  for (const bool v2 : {false, true}) {
    const auto cgroup = find_cgroup(root, "cpu", v2);
    if (!cgroup) continue;
    for_each_group(*cgroup, [&](const std::string& group) {
      // v2: "200000 100000" or "max 100000", in one file; v1: two files, -1 for no limit.
      const std::string both =
          v2 ? read_text(group + "/cpu.max")
             : read_text(group + "/cpu.cfs_quota_us") + ' ' + read_text(group + "/cpu.cfs_period_us");
      const std::size_t second = both.find_last_of(" \n", both.find_last_of("0123456789"));
      if (second == std::string::npos) return;
      const auto granted = to_number(both), period = to_number(std::string_view(both).substr(second + 1));
      if (!granted || !period || *period == 0) return;
      const double here = static_cast<double>(*granted) / static_cast<double>(*period);
      if (quota == 0 || here < quota) quota = here;
    });
  }
  return quota;
}

Topology synthetic_topology(const std::string& description) {
  const TopologyHandle topology = make_handle();
  if (hwloc_topology_set_synthetic(topology.get(), description.c_str()) != 0 ||
      hwloc_topology_load(topology.get()) != 0) {
    throw std::invalid_argument("not an hwloc synthetic topology: \"" + description + "\"");
  }
  return describe(topology.get());
}

}  // namespace dodeca::cpu
