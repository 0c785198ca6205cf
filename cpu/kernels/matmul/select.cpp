#include <algorithm>
#include <array>

#include "cpu/kernels/kernel_list.hpp"
#include "cpu/kernels/matmul/checked.hpp"
#include "cpu/kernels/matmul/matmul.hpp"
#include "cpu/kernels/matmul/matmul_kernels.hpp"

namespace dodeca::cpu {
namespace {

using quant::DType;

// Of the variants that are listed by type alone.
constexpr LayoutKind layout_kind(DType dtype) {
  switch (dtype) {
#define TYPE(...)
#define RAW(name, ...) \
  case DType::k##name: \
    return LayoutKind::kRows;
#include "quant/types.inc"
    default:
      return LayoutKind::kTiles16;
  }
}

#define KERNEL(isa, dtype, weights)                                                                                  \
  MatmulKernel{"gemv_" #weights "_" #isa, isa_tag::isa, DType::dtype, Match::kExact, checked<isa::gemv_##weights>(), \
               layout_kind(DType::dtype)},
constexpr std::array kGemv{
#include "cpu/kernels/matmul/matmul.inc"
};
#undef KERNEL

#define KERNEL(isa, dtype, weights)                                                                                  \
  MatmulKernel{"gemm_" #weights "_" #isa, isa_tag::isa, DType::dtype, Match::kExact, checked<isa::gemm_##weights>(), \
               layout_kind(DType::dtype)},
#define ONEDNN(isa, dtype, weights)                                                                                 \
  MatmulKernel{                                                                                                     \
      "gemm_" #weights "_onednn", isa_tag::isa, DType::dtype, Match::kTolerance, checked<onednn::gemm_##weights>(), \
      layout_kind(DType::dtype)},
constexpr std::array kGemm{
#include "cpu/kernels/matmul/matmul.inc"
};
#undef KERNEL

// The last of a type's variants that `isa` can run.
const MatmulKernel* best(std::span<const MatmulKernel> variants, DType dtype, Isa isa, Match match,
                         std::vector<std::string>& refusals) {
  const MatmulKernel* chosen = nullptr;
  for (const MatmulKernel& variant : variants) {
    if (variant.dtype != dtype || variant.layout != layout_of(dtype).kind || variant.match != match) continue;
    if (isa.has(variant.isa)) {
      chosen = &variant;
    } else {
      refusals.push_back(refusal(variant.name, variant.isa, isa));
    }
  }
  return chosen;
}

}  // namespace

std::span<const MatmulKernel> gemv_kernels() { return kGemv; }
std::span<const MatmulKernel> gemm_kernels() { return kGemm; }

const MatmulKernel* exact_variant(std::span<const MatmulKernel> variants, DType dtype, Isa isa) {
  const auto found = std::find_if(variants.begin(), variants.end(), [&](const MatmulKernel& variant) {
    return variant.dtype == dtype && variant.isa == isa && variant.match == Match::kExact;
  });
  return found == variants.end() ? nullptr : &*found;
}

MatmulChoice select_matmul(DType dtype, Isa isa, FloatGemm float_gemm, std::span<const TunedVariants> tuning) {
  MatmulChoice choice{.layout = &layout_of(dtype)};
  choice.gemv = best(kGemv, dtype, isa, Match::kExact, choice.refusals);
  choice.gemm = best(kGemm, dtype, isa, Match::kExact, choice.refusals);
  choice.gemm_min_rows = kGemmMinRows;
  const auto tuned =
      std::find_if(tuning.begin(), tuning.end(), [&](const TunedVariants& of) { return of.dtype == dtype; });
  if (tuned != tuning.end()) {
    const MatmulKernel* gemv = exact_variant(kGemv, dtype, tuned->gemv);
    const MatmulKernel* gemm = exact_variant(kGemm, dtype, tuned->gemm);
    if (gemv != nullptr && gemm != nullptr && isa.has(gemv->isa | gemm->isa)) {
      choice.gemv = gemv;
      choice.gemm = gemm;
      choice.gemm_min_rows = tuned->gemm_min_rows;
    } else {
      choice.refusals.push_back("the tuned kernels of " + std::string(quant::name_of(dtype)) + " need " +
                                name_of(tuned->gemv) + " and " + name_of(tuned->gemm) + ", have " + name_of(isa));
    }
  }
  if (float_gemm == FloatGemm::kOneDnn) {
    const MatmulKernel* variant = best(kGemm, dtype, isa, Match::kTolerance, choice.refusals);
    if (variant != nullptr) choice.gemm = variant;
  }
  return choice;
}

std::size_t matmul_scratch_bytes(std::int64_t n_in) {
  return kFixedScratchBytes + (static_cast<std::size_t>(n_in) * sizeof(float) + 63) / 64 * 64;
}

}  // namespace dodeca::cpu
