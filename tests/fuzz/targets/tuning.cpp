#include "runtime/plan/tuning_file.hpp"
#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

void fuzz_tuning(std::string_view bytes) {
  const runtime::TuningFile file = runtime::parse_tuning(bytes, "fuzz", "GenuineIntel 6/207", cpu::Isa::kScalar);
  require(file.unfit.empty() || file.tuning.empty(), "an unfit tuning says something");
  for (const cpu::TunedVariants& lines : file.tuning) require(lines.gemm_min_rows > 0, "rows");
}

std::vector<std::string> fuzz_tuning_seeds() {
  return {R"({"dodeca_tuning":1,"processor":"GenuineIntel 6/207","isa":"avx2","types":{"Q4_K":{"gemv":"scalar",)"
          R"("gemm":"scalar","gemm_min_rows":7},"Q8_0":{"gemv":"scalar","gemm":"scalar","gemm_min_rows":9}}})",
          R"({"dodeca_tuning":1,"processor":"AuthenticAMD 25/1","isa":"scalar","types":{}})"};
}

}  // namespace dodeca::tests
