#include "cpu/kernels/matmul/tuning.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "cpu/kernels/matmul/matmul.hpp"
#include "cpu/processor.hpp"

using namespace dodeca;
using cpu::Isa;
using cpu::MatmulChoice;
using cpu::TunedVariants;
using quant::DType;

namespace {

MatmulChoice choose(DType dtype, Isa isa, const cpu::MatmulTuning& tuning) {
  return cpu::select_matmul(dtype, isa, cpu::FloatGemm::kOwn, tuning);
}

bool says(const std::vector<std::string>& refusals, const std::string& text) {
  return std::find(refusals.begin(), refusals.end(), text) != refusals.end();
}

}  // namespace

TEST_CASE("tuned variants are taken for their type, the rule for the others") {
  const Isa top = cpu::built_isas().back();
  const cpu::MatmulTuning tuning{{DType::kQ4_K, Isa::kScalar, Isa::kScalar, 3}};
  const MatmulChoice tuned = choose(DType::kQ4_K, top, tuning), other = choose(DType::kQ5_K, top, tuning);
  CHECK(tuned.gemv->name == "gemv_q4_k_scalar");
  CHECK(tuned.gemm->name == "gemm_q4_k_scalar");
  CHECK(tuned.gemm_min_rows == 3);
  CHECK(other.gemv == cpu::select_matmul(DType::kQ5_K, top).gemv);
  CHECK(other.gemm == cpu::select_matmul(DType::kQ5_K, top).gemm);
  CHECK(other.gemm_min_rows == cpu::kGemmMinRows);
}

TEST_CASE("tuned kernels above the level, or that do not exist, leave the rule and a reason") {
  const MatmulChoice rule = cpu::select_matmul(DType::kQ4_K, Isa::kScalar);
  for (const TunedVariants& tuned :
       {TunedVariants{DType::kQ4_K, Isa::kScalar, Isa::kAvx2, 5},
        TunedVariants{DType::kQ4_K, Isa::kAvx2, Isa::kScalar, 5},
        TunedVariants{DType::kQ4_K, Isa::kScalar, Isa::kAvx512, 5}}) {  // Q4_K has no such variant
    const MatmulChoice choice = choose(DType::kQ4_K, Isa::kScalar, {tuned});
    CHECK(choice.gemv == rule.gemv);
    CHECK(choice.gemm == rule.gemm);
    CHECK(choice.gemm_min_rows == cpu::kGemmMinRows);
    CHECK(says(choice.refusals, "the tuned kernels of Q4_K need " + std::string(cpu::name_of(tuned.gemv)) + " and " +
                                    std::string(cpu::name_of(tuned.gemm)) + ", have scalar"));
  }
  const MatmulChoice missing =
      choose(DType::kQ4_K, cpu::built_isas().back(), {{DType::kQ4_K, Isa::kScalar, Isa::kAvx512, 5}});
  CHECK(missing.gemm_min_rows == cpu::kGemmMinRows);
}

TEST_CASE("exact variants by level; oneDNN's are none") {
  for (const cpu::MatmulKernel& variant : cpu::gemm_kernels()) {
    const cpu::MatmulKernel* found = cpu::exact_variant(cpu::gemm_kernels(), variant.dtype, variant.isa);
    if (variant.match == cpu::Match::kExact)
      CHECK(found == &variant);
    else
      CHECK(found != &variant);
  }
  CHECK(cpu::exact_variant(cpu::gemv_kernels(), DType::kQ4_K, Isa::kAvx512) == nullptr);
}

TEST_CASE("what is shipped names variants that exist, each type once, and differs from the rule") {
  CHECK(cpu::shipped_tuning("NoSuchVendor 1/1").empty());
  CHECK(cpu::shipped_tuning("").empty());
  for (const std::string& processor : {std::string("GenuineIntel 6/207"), cpu::processor_id()}) {
    std::set<DType> seen;
    for (const TunedVariants& tuned : cpu::shipped_tuning(processor)) {
      CHECK(seen.insert(tuned.dtype).second);
      CHECK(tuned.gemm_min_rows >= cpu::kLeastGemmMinRows);
      CHECK(tuned.gemm_min_rows <= cpu::kMostGemmMinRows);
#ifndef DODECA_SCALAR_ONLY
      CHECK(cpu::exact_variant(cpu::gemv_kernels(), tuned.dtype, tuned.gemv) != nullptr);
      CHECK(cpu::exact_variant(cpu::gemm_kernels(), tuned.dtype, tuned.gemm) != nullptr);
      const MatmulChoice rule = cpu::select_matmul(tuned.dtype, cpu::built_isas().back());
      CHECK(
          (rule.gemv->isa != tuned.gemv || rule.gemm->isa != tuned.gemm || rule.gemm_min_rows != tuned.gemm_min_rows));
#endif
    }
  }
}
