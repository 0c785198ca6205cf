#include "cpu/kernels/bandwidth/bandwidth.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelVariant<XorOfFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kVariants{
#include "cpu/kernels/bandwidth/bandwidth.inc"
};
#undef KERNEL

}  // namespace

std::uint64_t xor_of(const std::byte* data, std::size_t bytes, Isa isa) noexcept {
  return best_variant(kVariants, isa).run(data, bytes);
}

std::span<const KernelVariant<XorOfFn>> xor_of_kernels() { return kVariants; }

}  // namespace dodeca::cpu
