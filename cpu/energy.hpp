// Energy that the processors used, as the kernel's powercap zones count it (RAPL; AMD's packages appear under the same
// name): of packages, and of memory where a zone of its own counts that (not on EPYC). Virtual machines have no zones.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dodeca::cpu {

class PackageEnergy {
 public:
  // `root` is put before /sys (tests).
  explicit PackageEnergy(const std::string& root = "");

  // One sentence without a full stop; empty: energy is counted.
  const std::string& why_not() const { return why_not_; }
  std::int64_t n_packages() const { return n_packages_; }
  // Joules of all zones since this was made. Counters wrap, after two minutes at 500 W: to be called once a minute at
  // least.
  double joules();

 private:
  struct Zone {
    std::string file;
    std::uint64_t range = 0, last = 0;  // microjoules: where it wraps, what it was
  };
  std::vector<Zone> zones_;
  std::int64_t n_packages_ = 0;
  double joules_ = 0;
  std::string why_not_;
};

}  // namespace dodeca::cpu
