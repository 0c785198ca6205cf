#include "cpu/kernels/peak/peak.hpp"

#include <array>

#include "cpu/kernels/kernel_list.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, kind, function) PeakKernel{#function "_" #isa, isa_tag::isa, PeakKind::kind, isa::function},
constexpr std::array kVariants{
#include "cpu/kernels/peak/peak.inc"
};
#undef KERNEL

}  // namespace

std::span<const PeakKernel> peak_kernels() { return kVariants; }

const PeakKernel* select_peak(PeakKind kind, Isa isa) {
  const PeakKernel* best = nullptr;
  for (const PeakKernel& variant : kVariants) {
    if (variant.kind == kind && isa.has(variant.isa)) best = &variant;
  }
  return best;
}

}  // namespace dodeca::cpu
