#include "cpu/kernels/activation/activation.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelVariant<SwigluFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kVariants{
#include "cpu/kernels/activation/activation.inc"
};
#undef KERNEL

}  // namespace

void swiglu(const float* gate, const float* up, std::int64_t n, float* out, Isa isa) noexcept {
  best_variant(kVariants, isa).run(gate, up, n, out);
}

std::span<const KernelVariant<SwigluFn>> swiglu_kernels() { return kVariants; }

}  // namespace dodeca::cpu
