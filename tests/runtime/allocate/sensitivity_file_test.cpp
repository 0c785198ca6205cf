#include "runtime/allocate/sensitivity_file.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>

#include "runtime/base/error.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::runtime::allocate;

TEST_CASE("a file of sensitivities: every bit survives") {
  SensitivityFile file{"2 files:00ff", "1 files:1234", "8 chunks of 512:abcd", {}};
  std::mt19937 random(5);
  std::uniform_real_distribution<double> unit(0, 1);
  for (int i = 0; i < 100; ++i) file.sensitivities["blk." + std::to_string(i) + ".ffn_up.weight"] = unit(random) / 7;
  file.sensitivities["output.weight"] = 0;
  const tests::TempDir dir;
  write_sensitivities(file, dir / "s.json");
  const SensitivityFile read = read_sensitivities(dir / "s.json");
  CHECK(read.model == file.model);
  CHECK(read.importance == file.importance);
  CHECK(read.calibration == file.calibration);
  CHECK(read.sensitivities == file.sensitivities);
}

TEST_CASE("a file of sensitivities: what is wrong is named") {
  const struct {
    const char *text, *message;
  } cases[] = {
      {"[]", "it is no JSON object"},
      {"{", "text"},
      {R"({"default":"Q4_K"})", "\"model\" is missing"},
      {R"({"model":1,"importance":"","calibration":"","sensitivities":{}})", "\"model\" is no string"},
      {R"({"model":"","importance":"","calibration":""})", "\"sensitivities\" is missing"},
      {R"({"model":"","importance":"","calibration":"","sensitivities":[1]})", "is no object"},
      {R"({"model":"","importance":"","calibration":"","sensitivities":{},"more":1})", "unknown key \"more\""},
      {R"({"model":"","importance":"","calibration":"","sensitivities":{"a":-1}})", "that of \"a\""},
      {R"({"model":"","importance":"","calibration":"","sensitivities":{"a":"1"}})", "that of \"a\""},
      {R"({"model":"","importance":"","calibration":"","sensitivities":{"a":1e999}})", "text"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.text);
    CHECK_THROWS_WITH_AS(parse_sensitivities(c.text, "text"), doctest::Contains(c.message), Error);
  }
}

}  // namespace
