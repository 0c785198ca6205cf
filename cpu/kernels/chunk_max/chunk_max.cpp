#include "cpu/kernels/chunk_max/chunk_max.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelVariant<ChunkMaximaFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kVariants{
#include "cpu/kernels/chunk_max/chunk_max.inc"
};
#undef KERNEL

}  // namespace

void chunk_maxima(const float* values, std::int64_t n, float* maxima, Isa isa) noexcept {
  best_variant(kVariants, isa).run(values, n, maxima);
}

std::span<const KernelVariant<ChunkMaximaFn>> chunk_maxima_kernels() { return kVariants; }

}  // namespace dodeca::cpu
