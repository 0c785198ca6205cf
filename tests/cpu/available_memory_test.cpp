#include <doctest/doctest.h>
#include <sys/resource.h>

#include <limits>
#include <string>

#include "cpu/topology.hpp"
#include "tests/support/fake_root.hpp"

using namespace dodeca;

namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

class FakeMachine : public tests::FakeRoot {
 public:
  std::uint64_t available() const { return cpu::available_memory_bytes(path()); }
  double quota() const { return cpu::cpu_quota(path()); }
  void meminfo(std::uint64_t available_gib) {
    write("proc/meminfo",
          "MemTotal:       99999999 kB\nMemAvailable:   " + std::to_string(available_gib << 20) + " kB\n");
  }

  // A container: its own group is in_host on the host, of which it sees only below /docker/abc, as /sys/fs/cgroup/memory.
  void container(const std::string& in_host) {
    meminfo(100);
    write("proc/self/cgroup", "4:memory:" + in_host + "\n");
    write("proc/self/mountinfo", "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", std::to_string(6 * kGiB));
  }
};

}  // namespace

TEST_CASE("available memory: this machine has some") {
  const std::uint64_t available = cpu::available_memory_bytes();
  CHECK(available > (std::uint64_t{16} << 20));
  CHECK(available < (std::uint64_t{1} << 50));
}

TEST_CASE("available memory: without cgroups it is MemAvailable") {
  FakeMachine root;
  CHECK(root.available() == std::numeric_limits<std::uint64_t>::max());
  root.meminfo(100);
  CHECK(root.available() == 100 * kGiB);
}

TEST_CASE("available memory: cgroup v2 limits at every level above the process count, file cache does not") {
  FakeMachine root;
  root.meminfo(100);
  root.write("proc/self/cgroup", "0::/user/job\n");
  root.write("proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  root.write("sys/fs/cgroup/user/job/memory.max", "max\n");
  CHECK(root.available() == 100 * kGiB);
  root.write("sys/fs/cgroup/user/memory.max", std::to_string(64 * kGiB) + "\n");
  root.write("sys/fs/cgroup/user/memory.current", std::to_string(10 * kGiB) + "\n");
  CHECK(root.available() == 54 * kGiB);
  root.write("sys/fs/cgroup/user/memory.stat", "anon 5\nfile 77\nactive_file " + std::to_string(2 * kGiB) +
                                                   "\ninactive_file " + std::to_string(3 * kGiB) + "\n");
  CHECK(root.available() == 59 * kGiB);
  root.write("sys/fs/cgroup/user/job/memory.max", std::to_string(8 * kGiB) + "\n");
  root.write("sys/fs/cgroup/user/job/memory.current", std::to_string(9 * kGiB) + "\n");
  CHECK(root.available() == 0);
}

TEST_CASE("available memory: cgroup v1") {
  FakeMachine root;
  root.meminfo(100);
  root.write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/a\n0::/\n");
  root.write("proc/self/mountinfo",
             "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
             "33 31 0:30 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n");
  root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  root.write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", std::to_string(4 * kGiB));
  root.write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", std::to_string(3 * kGiB));
  root.write("sys/fs/cgroup/memory/a/memory.stat",
             "inactive_file 1\ntotal_inactive_file " + std::to_string(kGiB) + "\n");
  CHECK(root.available() == 2 * kGiB);
}

TEST_CASE("available memory: a container that sees only its own part of the hierarchy") {
  FakeMachine root;
  root.container("/docker/abc/inner");
  root.write("sys/fs/cgroup/memory/memory.usage_in_bytes", std::to_string(kGiB));
  CHECK(root.available() == 5 * kGiB);
}

TEST_CASE("available memory: a group beside the part that is seen only begins with its name") {
  FakeMachine root;
  root.container("/docker/abcd/inner");
  root.write("sys/fs/cgroup/memoryd/memory.limit_in_bytes", std::to_string(kGiB));
  root.write("sys/fs/cgroup/memoryd/inner/memory.limit_in_bytes", std::to_string(kGiB));
  CHECK(root.available() == 6 * kGiB);
}

TEST_CASE("available memory: unreadable numbers limit nothing") {
  FakeMachine root;
  root.write("proc/meminfo", "MemAvailable: lots\n");
  root.write("proc/self/cgroup", "nonsense\n::\n0::/a\n");
  root.write("proc/self/mountinfo", "short line\n - \n30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  root.write("sys/fs/cgroup/a/memory.max", "");
  CHECK(root.available() == std::numeric_limits<std::uint64_t>::max());
}

TEST_CASE("cpu quota: the smallest above the process, v1 and v2; none is 0") {
  FakeMachine root;
  CHECK(root.quota() == 0);
  root.write("proc/self/cgroup", "1:cpu,cpuacct:/a/b\n0::/x/y\n");
  root.write("proc/self/mountinfo",
             "33 31 0:30 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
             "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  root.write("sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
  root.write("sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n");
  root.write("sys/fs/cgroup/unified/x/y/cpu.max", "max 100000\n");
  CHECK(root.quota() == 0);
  root.write("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "350000\n");
  root.write("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
  CHECK(root.quota() == doctest::Approx(3.5));
  root.write("sys/fs/cgroup/unified/x/cpu.max", "100000 50000\n");
  CHECK(root.quota() == doctest::Approx(2.0));
  root.write("sys/fs/cgroup/unified/cpu.max", "1 0\n");
  root.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "\n");
  CHECK(root.quota() == doctest::Approx(2.0));
}

#ifndef __SANITIZE_ADDRESS__  // whose shadow memory fills any address space limit
TEST_CASE("available memory: the address space limit counts") {
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  rlimit limit = before;
  limit.rlim_cur = 8 * kGiB;
  REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
  const std::uint64_t available = FakeMachine().available();
  setrlimit(RLIMIT_AS, &before);
  CHECK(available < 8 * kGiB);
  CHECK(available > 0);
}
#endif
