#include "cpu/memory_advice.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/support/fake_root.hpp"

using namespace dodeca;

namespace {

const cpu::Topology kTwoSockets = cpu::synthetic_topology("package:2 numa:1 core:2 pu:2");
constexpr cpu::MemoryUse kBothNodes{.several_nodes = true, .n_threads = 4};

// The one sentence that there must be; every one is a sentence that names a cure.
std::string only(const std::vector<std::string>& advice) {
  REQUIRE(advice.size() == 1);
  CHECK(advice[0].ends_with('.'));
  CHECK(advice[0].find(';') != std::string::npos);
  CHECK(advice[0].find('\n') == std::string::npos);
  return advice[0];
}

bool says(const std::string& sentence, const std::string& part) { return sentence.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("advice: nothing where nothing can be read, or where all is well") {
  const tests::FakeRoot root;
  CHECK(cpu::memory_advice(kTwoSockets, kBothNodes, root.path()).empty());
  root.write("proc/sys/kernel/numa_balancing", "0\n");
  root.write("proc/sys/vm/zone_reclaim_mode", "0\n");
  root.write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  for (const char* pu : {"0", "2", "4", "6"})
    root.write("sys/devices/system/cpu/cpu" + std::string(pu) + "/cpufreq/scaling_governor", "performance\n");
  CHECK(cpu::memory_advice(kTwoSockets, kBothNodes, root.path()).empty());
}

TEST_CASE("advice: automatic balancing matters with several nodes") {
  const tests::FakeRoot root;
  root.write("proc/sys/kernel/numa_balancing", "1\n");
  CHECK(says(only(cpu::memory_advice(kTwoSockets, kBothNodes, root.path())), "sysctl kernel.numa_balancing=0"));
  CHECK(cpu::memory_advice(kTwoSockets, {.several_nodes = false, .n_threads = 4}, root.path()).empty());
}

TEST_CASE("advice: reclaim within a node, and huge pages that are off") {
  const tests::FakeRoot root;
  SUBCASE("reclaim") {
    root.write("proc/sys/vm/zone_reclaim_mode", "3\n");
    CHECK(says(only(cpu::memory_advice(kTwoSockets, {}, root.path())), "sysctl vm.zone_reclaim_mode=0"));
  }
  SUBCASE("huge pages") {
    root.write("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    CHECK(says(only(cpu::memory_advice(kTwoSockets, {}, root.path())), "echo madvise > /sys/kernel/mm/"));
  }
}

TEST_CASE("advice: more threads than cores") {
  const tests::FakeRoot root;
  const std::string sentence = only(cpu::memory_advice(kTwoSockets, {.n_threads = 6}, root.path()));
  CHECK(says(sentence, "6 threads share 4 cores"));
  CHECK(says(sentence, "use 4 threads"));
}

TEST_CASE("advice: nodes that the cpuset forbids") {
  const tests::FakeRoot root;
  const cpu::Topology one = cpu::synthetic_topology("package:2 numa:2 core:2 pu:1", {.forbidden = {3}});
  CHECK(says(only(cpu::memory_advice(one, {}, root.path())), "the memory of node 3,"));
  const cpu::Topology two = cpu::synthetic_topology("package:2 numa:2 core:2 pu:1", {.forbidden = {1, 3}});
  CHECK(says(only(cpu::memory_advice(two, {}, root.path())), "the memory of nodes 1, 3,"));
}

TEST_CASE("advice: a governor that saves power, on usable cores, unless the driver prefers performance anyway") {
  const tests::FakeRoot root;
  const std::string cpus = "sys/devices/system/cpu/cpu";
  root.write(cpus + "0/cpufreq/scaling_governor", "performance\n");
  root.write(cpus + "1/cpufreq/scaling_governor", "ondemand\n");  // a second hardware thread
  root.write(cpus + "2/cpufreq/scaling_governor", "schedutil\n");
  root.write(cpus + "4/cpufreq/scaling_governor", "powersave\n");
  root.write(cpus + "4/cpufreq/energy_performance_preference", "balance_performance\n");
  root.write(cpus + "6/cpufreq/scaling_governor", "powersave\n");
  root.write(cpus + "6/cpufreq/energy_performance_preference", "performance\n");
  const std::string sentence = only(cpu::memory_advice(kTwoSockets, {}, root.path()));
  CHECK(says(sentence, "of 2 of 4 cores is \"schedutil\""));
  CHECK(says(sentence, "cpupower frequency-set -g performance"));
}
