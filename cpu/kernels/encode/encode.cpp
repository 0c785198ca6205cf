#include "cpu/kernels/encode/encode.hpp"

#include <array>

#include "cpu/kernels/encode/encode_kernels.hpp"
#include "quant/codec.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelLine<EncodeRowFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kLines{
#include "cpu/kernels/encode/encode.inc"
};
#undef KERNEL
constexpr KernelTable<EncodeRowFn> kTable = best_lines(kLines);

}  // namespace

void encode_row(quant::DType dtype, const float* src, std::byte* dst, std::int64_t n, const float* importance,
                Isa isa) noexcept {
  if (!kTable[static_cast<std::size_t>(isa)](dtype, src, dst, n, importance)) {
    quant::encode_row(dtype, src, dst, n, importance);
  }
}

std::span<const KernelLine<EncodeRowFn>> encode_row_kernels() { return kLines; }

}  // namespace dodeca::cpu
