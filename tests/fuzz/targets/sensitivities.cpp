#include "runtime/allocate/sensitivity_file.hpp"
#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

void fuzz_sensitivities(std::string_view bytes) {
  const runtime::allocate::SensitivityFile file = runtime::allocate::parse_sensitivities(bytes, "fuzz");
  for (const auto& [name, value] : file.sensitivities) require(value >= 0, "sensitivity");
}

std::vector<std::string> fuzz_sensitivities_seeds() {
  return {R"({"model":"6 files:0123456789abcdef","importance":"","calibration":"8 chunks of 512:0123456789abcdef",)"
          R"("sensitivities":{"blk.3.ffn_down_exps.weight":0.0123,"output.weight":1,"a":0}})"};
}

}  // namespace dodeca::tests
