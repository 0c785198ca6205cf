#include "cpu/kernels/peak/peak.hpp"

#include <array>

#include "cpu/kernels/kernel_list.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, kind, function) PeakKernel{#function "_" #isa, isa_tag::isa, PeakKind::kind, isa::function},
constexpr std::array kLines{
#include "cpu/kernels/peak/peak.inc"
};
#undef KERNEL

}  // namespace

std::span<const PeakKernel> peak_kernels() { return kLines; }

const PeakKernel* select_peak(PeakKind kind, Isa isa) {
  const PeakKernel* best = nullptr;
  for (const PeakKernel& line : kLines) {
    if (line.kind == kind && line.isa <= isa && (best == nullptr || line.isa > best->isa)) best = &line;
  }
  return best;
}

}  // namespace dodeca::cpu
