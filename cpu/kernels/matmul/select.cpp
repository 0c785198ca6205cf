#include <algorithm>
#include <array>

#include "cpu/kernels/kernel_list.hpp"
#include "cpu/kernels/matmul/checked.hpp"
#include "cpu/kernels/matmul/matmul.hpp"
#include "cpu/kernels/matmul/matmul_kernels.hpp"

namespace dodeca::cpu {
namespace {

using quant::DType;

#define KERNEL(isa, dtype, weights) \
  MatmulKernel{"gemv_" #weights "_" #isa, isa_tag::isa, DType::dtype, Match::kExact, checked<isa::gemv_##weights>()},
constexpr std::array kGemv{
#include "cpu/kernels/matmul/matmul.inc"
};
#undef KERNEL

#define KERNEL(isa, dtype, weights) \
  MatmulKernel{"gemm_" #weights "_" #isa, isa_tag::isa, DType::dtype, Match::kExact, checked<isa::gemm_##weights>()},
#define ONEDNN(isa, dtype, weights)                                                       \
  MatmulKernel{"gemm_" #weights "_onednn", isa_tag::isa, DType::dtype, Match::kTolerance, \
               checked<onednn::gemm_##weights>()},
constexpr std::array kGemm{
#include "cpu/kernels/matmul/matmul.inc"
};
#undef KERNEL

const MatmulKernel* best(std::span<const MatmulKernel> lines, DType dtype, Isa isa, Match match,
                         std::vector<std::string>& refusals) {
  const MatmulKernel* chosen = nullptr;
  for (const MatmulKernel& line : lines) {
    if (line.dtype != dtype || line.match != match) continue;
    if (line.isa > isa) {
      refusals.push_back(std::string(line.name) + " needs " + std::string(name_of(line.isa)) + ", have " +
                         std::string(name_of(isa)));
    } else if (chosen == nullptr || line.isa >= chosen->isa) {
      chosen = &line;
    }
  }
  return chosen;
}

}  // namespace

std::span<const MatmulKernel> gemv_kernels() { return kGemv; }
std::span<const MatmulKernel> gemm_kernels() { return kGemm; }

const MatmulKernel* exact_line(std::span<const MatmulKernel> lines, DType dtype, Isa isa) {
  const auto found = std::find_if(lines.begin(), lines.end(), [&](const MatmulKernel& line) {
    return line.dtype == dtype && line.isa == isa && line.match == Match::kExact;
  });
  return found == lines.end() ? nullptr : &*found;
}

MatmulChoice select_matmul(DType dtype, Isa isa, FloatGemm float_gemm, std::span<const TunedLines> tuning) {
  MatmulChoice choice{};
  choice.gemv = best(kGemv, dtype, isa, Match::kExact, choice.refusals);
  choice.gemm = best(kGemm, dtype, isa, Match::kExact, choice.refusals);
  choice.gemm_min_rows = kGemmMinRows;
  const auto tuned =
      std::find_if(tuning.begin(), tuning.end(), [&](const TunedLines& lines) { return lines.dtype == dtype; });
  if (tuned != tuning.end()) {
    const MatmulKernel* gemv = exact_line(kGemv, dtype, tuned->gemv);
    const MatmulKernel* gemm = exact_line(kGemm, dtype, tuned->gemm);
    if (gemv != nullptr && gemm != nullptr && std::max(gemv->isa, gemm->isa) <= isa) {
      choice.gemv = gemv;
      choice.gemm = gemm;
      choice.gemm_min_rows = tuned->gemm_min_rows;
    } else {
      choice.refusals.push_back("the tuned lines of " + std::string(quant::name_of(dtype)) + " need " +
                                std::string(name_of(tuned->gemv)) + " and " + std::string(name_of(tuned->gemm)) +
                                ", have " + std::string(name_of(isa)));
    }
  }
  if (float_gemm == FloatGemm::kOneDnn) {
    const MatmulKernel* line = best(kGemm, dtype, isa, Match::kTolerance, choice.refusals);
    if (line != nullptr) choice.gemm = line;
  }
  return choice;
}

std::size_t matmul_scratch_bytes(std::int64_t n_in) {
  return kFixedScratchBytes + (static_cast<std::size_t>(n_in) * sizeof(float) + 63) / 64 * 64;
}

}  // namespace dodeca::cpu
