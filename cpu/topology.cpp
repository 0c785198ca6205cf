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
#include <utility>

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

Bitmap make_bitmap() { return Bitmap(hwloc_bitmap_alloc()); }

// What cgroups allow and, on the running machine, this process's affinity.
Bitmap usable_pus(hwloc_topology_t topology) {
  Bitmap usable(hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology)));
  if (hwloc_topology_is_thissystem(topology) != 0) {
    const Bitmap bound = make_bitmap();
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

// Which memory nodes there are, which may be used, and how far they are from each other.
class MemoryNodes {
 public:
  explicit MemoryNodes(hwloc_topology_t topology);

  const std::vector<hwloc_obj_t>& usable() const { return usable_; }
  const std::vector<int>& forbidden() const { return forbidden_; }
  int distance(hwloc_obj_t a, hwloc_obj_t b) const;
  // Of the usable nodes the one nearest to a core: its own, or else by distance from it, first in the same package.
  hwloc_obj_t nearest(hwloc_obj_t core) const;

 private:
  hwloc_obj_t own_node(hwloc_obj_t core) const;

  hwloc_topology_t topology_;
  std::vector<hwloc_obj_t> all_, usable_;
  std::vector<int> forbidden_;
  std::map<std::pair<unsigned, unsigned>, int> distances_;  // by OS index
};

// What the kernel itself says of this process: hwloc does not find every container's cpuset.
Bitmap allowed_nodes(hwloc_topology_t topology) {
  Bitmap allowed(hwloc_bitmap_dup(hwloc_topology_get_allowed_nodeset(topology)));
  if (hwloc_topology_is_thissystem(topology) == 0) return allowed;
  const std::string status = read_text("/proc/self/status");
  const std::string_view key = "\nMems_allowed_list:\t";
  const std::size_t at = status.find(key);
  if (at == std::string::npos) return allowed;
  const std::string list = status.substr(at + key.size(), status.find('\n', at + key.size()) - at - key.size());
  const Bitmap told = make_bitmap();
  if (hwloc_bitmap_list_sscanf(told.get(), list.c_str()) == 0 &&
      hwloc_bitmap_intersects(allowed.get(), told.get()) != 0) {
    hwloc_bitmap_and(allowed.get(), allowed.get(), told.get());
  }
  return allowed;
}

MemoryNodes::MemoryNodes(hwloc_topology_t topology) : topology_(topology) {
  const Bitmap allowed = allowed_nodes(topology);
  hwloc_obj_t node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr) {
    all_.push_back(node);
    if (node->attr->numanode.local_memory == 0) continue;
    if (hwloc_bitmap_isset(allowed.get(), node->os_index) != 0) {
      usable_.push_back(node);
    } else {
      forbidden_.push_back(static_cast<int>(node->os_index));
    }
  }
  if (usable_.empty()) usable_ = all_;  // some systems do not tell how much memory there is

  unsigned n_matrices = 1;
  hwloc_distances_s* matrix = nullptr;
  if (hwloc_distances_get_by_type(topology, HWLOC_OBJ_NUMANODE, &n_matrices, &matrix,
                                  HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) != 0 ||
      n_matrices == 0) {
    return;
  }
  for (unsigned a = 0; a < matrix->nbobjs; ++a) {
    for (unsigned b = 0; b < matrix->nbobjs; ++b) {
      distances_[{matrix->objs[a]->os_index, matrix->objs[b]->os_index}] =
          static_cast<int>(matrix->values[a * matrix->nbobjs + b]);
    }
  }
  hwloc_distances_release(topology, matrix);
}

int MemoryNodes::distance(hwloc_obj_t a, hwloc_obj_t b) const {
  const auto found = distances_.find({a->os_index, b->os_index});
  if (found != distances_.end()) return found->second;
  return a == b ? 10 : 20;
}

// Of the nodes that share the core's processors, the one that shares the fewest others; usable ones come first.
hwloc_obj_t MemoryNodes::own_node(hwloc_obj_t core) const {
  for (const auto* nodes : {&usable_, &all_}) {
    hwloc_obj_t own = nullptr;
    for (const hwloc_obj_t node : *nodes) {
      if (hwloc_bitmap_isset(core->nodeset, node->os_index) == 0) continue;
      if (own == nullptr || hwloc_bitmap_weight(node->cpuset) < hwloc_bitmap_weight(own->cpuset)) own = node;
    }
    if (own != nullptr) return own;
  }
  return nullptr;
}

hwloc_obj_t MemoryNodes::nearest(hwloc_obj_t core) const {
  const hwloc_obj_t own = own_node(core);
  if (own == nullptr || std::find(usable_.begin(), usable_.end(), own) != usable_.end()) return own;
  const hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(topology_, HWLOC_OBJ_PACKAGE, core);
  const auto cost = [&](hwloc_obj_t node) {
    const bool elsewhere = package != nullptr && hwloc_bitmap_isset(package->nodeset, node->os_index) == 0;
    return std::pair(distance(own, node), elsewhere);
  };
  return *std::min_element(usable_.begin(), usable_.end(),
                           [&](hwloc_obj_t a, hwloc_obj_t b) { return cost(a) < cost(b); });
}

struct FoundCore {
  int first_pu, node, l3, package;  // node: OS index, -1: none; l3, package: hwloc's index
  std::vector<int> siblings;
};

int index_of(hwloc_obj_t object) { return object == nullptr ? 0 : static_cast<int>(object->logical_index); }

std::vector<FoundCore> find_cores(hwloc_topology_t topology, hwloc_const_bitmap_t usable, const MemoryNodes& nodes) {
  // Virtual machines may show no cores; then every hardware thread counts as one.
  const bool has_cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0;
  const hwloc_obj_type_t type = has_cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
  const Bitmap mine = make_bitmap();
  std::vector<FoundCore> cores;
  hwloc_obj_t core = nullptr;
  while ((core = hwloc_get_next_obj_by_type(topology, type, core)) != nullptr) {
    hwloc_bitmap_and(mine.get(), core->cpuset, usable);
    if (hwloc_bitmap_iszero(mine.get()) != 0) continue;
    const hwloc_obj_t node = nodes.nearest(core);
    const hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_PACKAGE, core);
    const hwloc_obj_t l3 = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_L3CACHE, core);
    const int first = hwloc_bitmap_first(mine.get());
    cores.push_back({first,
                     node == nullptr ? -1 : static_cast<int>(node->os_index),
                     index_of(l3 != nullptr ? l3 : package),
                     index_of(package),
                     {}});
    for (int pu = hwloc_bitmap_next(mine.get(), first); pu >= 0; pu = hwloc_bitmap_next(mine.get(), pu))
      cores.back().siblings.push_back(pu);
  }
  return cores;
}

// Nodes, and what is known of them. Returns the index into Topology::nodes by OS index.
std::map<int, int> describe_nodes(const MemoryNodes& nodes, const std::vector<FoundCore>& cores, Topology& result) {
  std::map<int, int> index;
  std::vector<hwloc_obj_t> with_cores;
  for (const hwloc_obj_t node : nodes.usable()) {
    const int os_index = static_cast<int>(node->os_index);
    const bool has_core =
        std::any_of(cores.begin(), cores.end(), [&](const FoundCore& c) { return c.node == os_index; });
    (has_core ? result.nodes : result.memory_only).push_back({os_index, node->attr->numanode.local_memory});
    if (!has_core) continue;
    index[os_index] = static_cast<int>(with_cores.size());
    with_cores.push_back(node);
  }
  // hwloc's order is by place in the machine; people count by the kernel's.
  std::sort(result.memory_only.begin(), result.memory_only.end(),
            [](const Node& a, const Node& b) { return a.os_index < b.os_index; });
  result.forbidden_nodes = nodes.forbidden();
  std::sort(result.forbidden_nodes.begin(), result.forbidden_nodes.end());
  for (const hwloc_obj_t a : with_cores) {
    std::vector<int>& row = result.distances.emplace_back();
    for (const hwloc_obj_t b : with_cores) row.push_back(nodes.distance(a, b));
  }
  return index;
}

Topology describe(hwloc_topology_t topology) {
  Topology result;
  result.this_system = hwloc_topology_is_thissystem(topology) != 0;
  const hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
  const hwloc_obj_t named = package != nullptr ? package : hwloc_get_root_obj(topology);
  if (const char* model = hwloc_obj_get_info_by_name(named, "CPUModel")) result.cpu_model = model;
  result.l2_bytes = cache_bytes(topology, HWLOC_OBJ_L2CACHE);
  result.l3_bytes = cache_bytes(topology, HWLOC_OBJ_L3CACHE);

  const MemoryNodes nodes(topology);
  std::vector<FoundCore> cores = find_cores(topology, usable_pus(topology).get(), nodes);
  if (cores.empty()) throw std::runtime_error("hwloc shows no usable core");
  std::map<int, int> node_index = describe_nodes(nodes, cores, result);
  if (result.nodes.empty()) {
    result.nodes.push_back({0, 0});
    result.distances = {{10}};
  }
  std::stable_sort(cores.begin(), cores.end(), [&](const FoundCore& a, const FoundCore& b) {
    return std::tuple(node_index[a.node], a.l3) < std::tuple(node_index[b.node], b.l3);
  });
  std::map<int, int> l3s, packages;  // counted without gaps, in the order of the cores
  const auto counted = [](std::map<int, int>& seen, int which) {
    return seen.emplace(which, static_cast<int>(seen.size())).first->second;
  };
  for (const FoundCore& core : cores) {
    result.cores.push_back(
        {core.first_pu, node_index[core.node], counted(l3s, core.l3), core.siblings, counted(packages, core.package)});
  }
  return result;
}

// The node with an OS index. Throws std::invalid_argument when there is none.
hwloc_obj_t node_at(hwloc_topology_t topology, std::size_t os_index) {
  const hwloc_obj_t node = hwloc_get_numanode_obj_by_os_index(topology, static_cast<unsigned>(os_index));
  if (node == nullptr) throw std::invalid_argument("the synthetic topology has no node " + std::to_string(os_index));
  return node;
}

void set_distances(hwloc_topology_t topology, const std::vector<std::vector<int>>& distances) {
  std::vector<hwloc_obj_t> nodes;
  std::vector<hwloc_uint64_t> values;
  for (const std::vector<int>& row : distances) {
    if (row.size() != distances.size()) throw std::invalid_argument("distances of nodes are not a square");
    nodes.push_back(node_at(topology, nodes.size()));
    values.insert(values.end(), row.begin(), row.end());
  }
  hwloc_distances_add_handle_t matrix = hwloc_distances_add_create(
      topology, "NUMALatency", HWLOC_DISTANCES_KIND_FROM_USER | HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0);
  if (matrix == nullptr ||
      hwloc_distances_add_values(topology, matrix, static_cast<unsigned>(nodes.size()), nodes.data(), values.data(),
                                 0) != 0 ||
      hwloc_distances_add_commit(topology, matrix, 0) != 0) {
    throw std::invalid_argument("hwloc refuses the distances of nodes");
  }
}

}  // namespace

Topology read_topology() {
  const TopologyHandle topology = make_handle();
  hwloc_topology_set_flags(topology.get(), HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
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

Topology synthetic_topology(const std::string& description) { return synthetic_topology(description, {}); }

Topology synthetic_topology(const std::string& description, const SyntheticNodes& nodes) {
  const TopologyHandle handle = make_handle();
  const hwloc_topology_t topology = handle.get();
  hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
  if (hwloc_topology_set_synthetic(topology, description.c_str()) != 0 || hwloc_topology_load(topology) != 0) {
    throw std::invalid_argument("not an hwloc synthetic topology: \"" + description + "\"");
  }
  for (std::size_t n = 0; n < nodes.memory_bytes.size(); ++n)
    node_at(topology, n)->attr->numanode.local_memory = nodes.memory_bytes[n];
  if (!nodes.distances.empty()) set_distances(topology, nodes.distances);
  const Bitmap pus(hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology)));
  const Bitmap memory(hwloc_bitmap_dup(hwloc_topology_get_allowed_nodeset(topology)));
  for (const int n : nodes.without_cores)
    hwloc_bitmap_andnot(pus.get(), pus.get(), node_at(topology, static_cast<std::size_t>(n))->cpuset);
  for (const int n : nodes.forbidden)
    hwloc_bitmap_clr(memory.get(), node_at(topology, static_cast<std::size_t>(n))->os_index);
  if (hwloc_topology_allow(topology, pus.get(), memory.get(), HWLOC_ALLOW_FLAG_CUSTOM) != 0) {
    throw std::invalid_argument("the synthetic topology \"" + description + "\" has no core or no node left");
  }
  return describe(topology);
}

}  // namespace dodeca::cpu
