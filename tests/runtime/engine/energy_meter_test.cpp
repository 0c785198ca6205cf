// Joules of a run, from a tree of files like that of the kernel.
#include "runtime/engine/energy_meter.hpp"

#include <doctest/doctest.h>

#include <fstream>

#include "tests/support/temp_dir.hpp"

using dodeca::runtime::engine::EnergyMeter;
using dodeca::tests::TempDir;

TEST_CASE("joules of packages, and how they are said") {
  const TempDir folder;
  const std::filesystem::path zone = folder / "sys/class/powercap/intel-rapl:0";
  std::filesystem::create_directories(zone);
  const auto write = [&](const char* file, const char* text) { std::ofstream(zone / file) << text << '\n'; };
  write("name", "package-0");
  write("max_energy_range_uj", "65532610987");
  write("energy_uj", "1000000");
  EnergyMeter meter("", folder.path().string());
  REQUIRE(meter.counts());
  write("energy_uj", "51000000");
  CHECK(meter.read().sum() == doctest::Approx(50));
  CHECK(meter.text(meter.read(), 4) == "50 J (packages alone), 12.5 J per token");
  CHECK(meter.text(meter.read(), 0) == "50 J (packages alone)");
}

TEST_CASE("a machine without counters says why") {
  const TempDir folder;
  EnergyMeter meter("", folder.path().string());
  CHECK_FALSE(meter.counts());
  CHECK(meter.why_not().find("virtual machines") != std::string::npos);
  CHECK(meter.read().sum() == 0);
}
