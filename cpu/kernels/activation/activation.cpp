#include "cpu/kernels/activation/activation.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelVariant<SwigluFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kVariants{
#include "cpu/kernels/activation/activation.inc"
};
constexpr std::array kClampedVariants{
#include "cpu/kernels/activation/clamped_swiglu.inc"
};
#undef KERNEL

}  // namespace

void swiglu(const float* gate, const float* up, std::int64_t n, float* out, Isa isa) noexcept {
  best_variant(kVariants, isa).run(gate, up, n, out);
}

void clamped_swiglu(const float* gate, const float* up, std::int64_t n, float* out, Isa isa) noexcept {
  best_variant(kClampedVariants, isa).run(gate, up, n, out);
}

std::span<const KernelVariant<SwigluFn>> swiglu_kernels() { return kVariants; }
std::span<const KernelVariant<SwigluFn>> clamped_swiglu_kernels() { return kClampedVariants; }

}  // namespace dodeca::cpu
