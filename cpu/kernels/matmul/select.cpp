#include <algorithm>
#include <array>

#include "cpu/kernels/kernel_list.hpp"
#include "cpu/kernels/matmul/matmul.hpp"
#include "cpu/kernels/matmul/matmul_kernels.hpp"

namespace dodeca::cpu {
namespace {

using quant::DType;

#define KERNEL(isa, dtype, weights) \
  MatmulKernel{"gemv_" #weights "_" #isa, isa_tag::isa, DType::dtype, Match::kExact, isa::gemv_##weights},
constexpr std::array kGemv{
#include "cpu/kernels/matmul/matmul.inc"
};
#undef KERNEL

#define KERNEL(isa, dtype, weights) \
  MatmulKernel{"gemm_" #weights "_" #isa, isa_tag::isa, DType::dtype, Match::kExact, isa::gemm_##weights},
#define ONEDNN(isa, dtype, weights) \
  MatmulKernel{"gemm_" #weights "_onednn", isa_tag::isa, DType::dtype, Match::kTolerance, onednn::gemm_##weights},
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

MatmulChoice select_matmul(DType dtype, Isa isa, FloatGemm float_gemm) {
  MatmulChoice choice{};
  choice.gemv = best(kGemv, dtype, isa, Match::kExact, choice.refusals);
  choice.gemm = best(kGemm, dtype, isa, Match::kExact, choice.refusals);
  if (float_gemm == FloatGemm::kOneDnn) {
    const MatmulKernel* line = best(kGemm, dtype, isa, Match::kTolerance, choice.refusals);
    if (line != nullptr) choice.gemm = line;
  }
  return choice;
}

}  // namespace dodeca::cpu
