#include "cpu/kernels/norm/norm.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelVariant<RmsNormFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kVariants{
#include "cpu/kernels/norm/norm.inc"
};
#undef KERNEL

#define KERNEL(isa, function) KernelVariant<AddAndWeighFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kAddAndWeighVariants{
#include "cpu/kernels/norm/add_and_weigh.inc"
};
#undef KERNEL

}  // namespace

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out, Isa isa) noexcept {
  best_variant(kVariants, isa).run(x, weight, n, eps, out);
}

float add_and_weigh(const AddAndWeigh& args, Isa isa) noexcept {
  return best_variant(kAddAndWeighVariants, isa).run(args.x, args.add, args.weight, args.n, args.sum, args.out);
}

std::span<const KernelVariant<RmsNormFn>> rms_norm_kernels() { return kVariants; }
std::span<const KernelVariant<AddAndWeighFn>> add_and_weigh_kernels() { return kAddAndWeighVariants; }

}  // namespace dodeca::cpu
