#include "cpu/node_memory.hpp"

#include <doctest/doctest.h>

#include <limits>

#include "tests/support/fake_root.hpp"

using namespace dodeca;

TEST_CASE("pools of huge pages are those of the very node, and of the very size") {
  const tests::FakeRoot root;
  const std::string node = "sys/devices/system/node/node1/hugepages/";
  root.write(node + "hugepages-2048kB/nr_hugepages", "100\n");
  root.write(node + "hugepages-2048kB/free_hugepages", "40\n");
  root.write(node + "hugepages-1048576kB/nr_hugepages", "3\n");
  root.write(node + "hugepages-1048576kB/free_hugepages", "2\n");
  root.write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "300\n");
  root.write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "70\n");
  const std::uint64_t small = 2 << 20, large = 1 << 30;
  CHECK(cpu::huge_pool(1, small, root.path()).total == 100);
  CHECK(cpu::huge_pool(1, small, root.path()).free == 40);
  CHECK(cpu::huge_pool(1, large, root.path()).total == 3);
  CHECK(cpu::huge_pool(1, large, root.path()).free == 2);
  CHECK(cpu::huge_pool(1, large, root.path()).free_bytes() == 2 * large);
  CHECK(cpu::huge_pool(0, small, root.path()).total == 0);
  CHECK(cpu::huge_pool(-1, small, root.path()).free == 70);
  CHECK(cpu::huge_pool(-1, large, root.path()).free == 0);
}

TEST_CASE("a node's available memory counts file pages, less a reserve, and no other node's") {
  const tests::FakeRoot root;
  root.write("sys/devices/system/node/node1/meminfo",
             "Node 1 MemTotal:       38000 kB\n"
             "Node 1 MemFree:        1000 kB\n"
             "Node 1 MemUsed:         37000 kB\n"
             "Node 1 Active:          77777 kB\n"
             "Node 1 Active(anon):       1540 kB\n"
             "Node 1 Active(file):    200 kB\n"
             "Node 1 Inactive(file):  30 kB\n");
  CHECK(cpu::available_node_bytes(1, root.path()) == 1230 * 1024 - 380 * 1024);
  CHECK(cpu::available_node_bytes(0, root.path()) == std::numeric_limits<std::uint64_t>::max());
}
