#include "cpu/kernels/norm/norm.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelVariant<RmsNormFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kVariants{
#include "cpu/kernels/norm/norm.inc"
};
#undef KERNEL

}  // namespace

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out, Isa isa) noexcept {
  best_variant(kVariants, isa).run(x, weight, n, eps, out);
}

std::span<const KernelVariant<RmsNormFn>> rms_norm_kernels() { return kVariants; }

}  // namespace dodeca::cpu
