#include "cpu/kernels/encode/encode.hpp"

#include <array>

#include "cpu/kernels/encode/encode_kernels.hpp"
#include "quant/codec.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelVariant<EncodeRowFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kVariants{
#include "cpu/kernels/encode/encode.inc"
};
#undef KERNEL

}  // namespace

void encode_row(quant::DType dtype, const float* src, std::byte* dst, std::int64_t n, const float* importance,
                Isa isa) noexcept {
  if (!best_variant(kVariants, isa).run(dtype, src, dst, n, importance)) {
    quant::encode_row(dtype, src, dst, n, importance);
  }
}

std::span<const KernelVariant<EncodeRowFn>> encode_row_kernels() { return kVariants; }

}  // namespace dodeca::cpu
