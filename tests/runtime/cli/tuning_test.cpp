#include "runtime/cli/tuning.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <vector>

#include "runtime/base/error.hpp"
#include "runtime/plan/tuning_file.hpp"
#include "tests/support/temp_dir.hpp"

using namespace dodeca;
using namespace dodeca::runtime;
using cli::TuningSearch;
using cpu::Isa;
using quant::DType;

namespace {

const std::string kHere = "GenuineIntel 6/1", kThere = "AuthenticAMD 26/2";
const cpu::MatmulTuning kMine{{DType::kQ4_K, Isa::kScalar, Isa::kScalar, 5}};

struct Lines {
  std::vector<std::string> info, detail;
  Log log() {
    return [this](Level level, std::string_view line) { (level == Level::kInfo ? info : detail).emplace_back(line); };
  }
};

}  // namespace

TEST_CASE("the user's tuning is found; the variable names another or none") {
  const tests::TempDir dir;
  write_tuning(kMine, kHere, Isa::kAvx2, dir / "mine.json");
  const cpu::MatmulTuning other{{DType::kQ6_K, Isa::kScalar, Isa::kScalar, 3}};
  write_tuning(other, kHere, Isa::kAvx2, dir / "other.json");
  Lines lines;
  CHECK(cli::find_tuning({"", dir / "mine.json", kHere, Isa::kAvx2}, lines.log()) == kMine);
  CHECK(lines.detail.back().find("mine.json") != std::string::npos);
  CHECK(cli::find_tuning({dir / "other.json", dir / "mine.json", kHere, Isa::kAvx2}, lines.log()) == other);
  CHECK(cli::find_tuning({"none", dir / "mine.json", kHere, Isa::kAvx2}, lines.log()).empty());
  CHECK(lines.info.empty());
}

TEST_CASE("without a file, or with one for another processor, what is shipped holds") {
  const tests::TempDir dir;
  write_tuning(kMine, kThere, Isa::kAvx2, dir / "there.json");
  Lines lines;
  const cpu::MatmulTuning shipped = cpu::shipped_tuning(kHere);
  CHECK(cli::find_tuning({"", dir / "absent.json", kHere, Isa::kAvx2}, lines.log()) == shipped);
  CHECK(cli::find_tuning({"", {}, kHere, Isa::kAvx2}, lines.log()) == shipped);
  CHECK(lines.info.empty());
  CHECK(cli::find_tuning({"", dir / "there.json", kHere, Isa::kAvx2}, lines.log()) == shipped);
  REQUIRE(lines.info.size() == 1);
  CHECK(lines.info[0].find("there.json is left out: it was measured on " + kThere) != std::string::npos);
}

TEST_CASE("a broken file, and a named one that is not there, are errors") {
  const tests::TempDir dir;
  std::ofstream(dir / "broken.json") << "{";
  Lines lines;
  CHECK_THROWS_AS(cli::find_tuning({"", dir / "broken.json", kHere, Isa::kAvx2}, lines.log()), Error);
  CHECK_THROWS_AS(cli::find_tuning({dir / "absent.json", {}, kHere, Isa::kAvx2}, lines.log()), Error);
}
