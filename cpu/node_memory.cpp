#include "cpu/node_memory.hpp"

#include <limits>
#include <optional>

#include "cpu/system_file.hpp"

namespace dodeca::cpu {

HugePool huge_pool(int node, std::uint64_t page_bytes, const std::string& root) {
  const std::string pools = node < 0 ? "/sys/kernel/mm" : "/sys/devices/system/node/node" + std::to_string(node);
  const std::string pool = root + pools + "/hugepages/hugepages-" + std::to_string(page_bytes / 1024) + "kB";
  return {page_bytes, read_number(pool + "/nr_hugepages").value_or(0),
          read_number(pool + "/free_hugepages").value_or(0)};
}

std::uint64_t available_node_bytes(int node, const std::string& root) {
  const std::string name = std::to_string(node);
  const std::string meminfo = read_text(root + "/sys/devices/system/node/node" + name + "/meminfo");
  const auto kib = [&](const std::string& key) { return find_number(meminfo, "Node " + name + ' ' + key); };
  const std::optional<std::uint64_t> free = kib("MemFree:");
  if (!free) return std::numeric_limits<std::uint64_t>::max();
  const std::uint64_t all = *free + kib("Active(file):").value_or(0) + kib("Inactive(file):").value_or(0),
                      reserve = kib("MemTotal:").value_or(0) / 100;
  return all > reserve ? (all - reserve) * 1024 : 0;
}

}  // namespace dodeca::cpu
