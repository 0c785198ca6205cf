// Energy of packages, from a tree of files like that of the kernel.
#include "cpu/energy.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.hpp"

using dodeca::cpu::PackageEnergy;
using dodeca::tests::TempDir;

namespace {

struct Tree {
  TempDir folder;
  std::string root() const { return folder.path().string(); }
  void write(const std::string& zone, const std::string& file, const std::string& text) const {
    const std::filesystem::path at = folder.path() / "sys/class/powercap" / zone;
    std::filesystem::create_directories(at);
    std::ofstream(at / file) << text << '\n';
  }
  void zone(const std::string& zone, const std::string& name, std::uint64_t now, std::uint64_t range) const {
    write(zone, "name", name);
    write(zone, "max_energy_range_uj", std::to_string(range));
    set(zone, now);
  }
  void set(const std::string& zone, std::uint64_t now) const { write(zone, "energy_uj", std::to_string(now)); }
};

}  // namespace

TEST_CASE("packages and their memory are added up, each from where it was, over the wrap of its counter") {
  const Tree tree;
  tree.zone("intel-rapl:0", "package-0", 5'000'000, 65'532'610'987);
  tree.zone("intel-rapl:0:0", "core", 1'000'000, 65'532'610'987);
  tree.zone("intel-rapl:0:1", "dram", 7'000'000, 65'712'999'613);
  tree.zone("intel-rapl:1", "package-1", 65'532'000'000, 65'532'610'987);
  tree.zone("intel-rapl:2", "psys", 9'000'000, 65'532'610'987);
  tree.write("intel-rapl", "enabled", "1");
  PackageEnergy energy(tree.root());
  CHECK(energy.why_not().empty());
  CHECK(energy.n_packages() == 2);
  CHECK(energy.joules() == 0);
  tree.set("intel-rapl:0", 15'000'000);
  tree.set("intel-rapl:0:0", 4'000'000);
  tree.set("intel-rapl:0:1", 7'500'000);
  tree.set("intel-rapl:2", 99'000'000);
  CHECK(energy.joules() == doctest::Approx(10.5));
  tree.set("intel-rapl:1", 389'013);  // 610987 to the wrap, 389013 behind it
  CHECK(energy.joules() == doctest::Approx(11.5));
  CHECK(energy.joules() == doctest::Approx(11.5));
}

TEST_CASE("a counter that is read badly once is taken at the next reading") {
  const Tree tree;
  tree.zone("intel-rapl:0", "package-0", 1'000'000, 100'000'000);
  PackageEnergy energy(tree.root());
  tree.write("intel-rapl:0", "energy_uj", "");
  CHECK(energy.joules() == 0);
  tree.set("intel-rapl:0", 3'000'000);
  CHECK(energy.joules() == doctest::Approx(2.0));
}

TEST_CASE("where nothing is counted, or only for root, one sentence says so") {
  const Tree tree;
  CHECK(PackageEnergy(tree.root()).why_not().find("as in virtual machines") != std::string::npos);
  tree.zone("intel-rapl:0", "package-0", 1, 100);
  std::filesystem::remove(tree.folder.path() / "sys/class/powercap/intel-rapl:0/energy_uj");
  PackageEnergy energy(tree.root());
  CHECK(energy.why_not().find("intel-rapl:0/energy_uj cannot be read") != std::string::npos);
  CHECK(energy.n_packages() == 0);
  CHECK(energy.joules() == 0);
  tree.zone("intel-rapl:0", "package-0", 1, 0);  // a range of nothing
  CHECK_FALSE(PackageEnergy(tree.root()).why_not().empty());
}
