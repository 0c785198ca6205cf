#include "cpu/kernels/quantize_act/quantize_act.hpp"

#include <array>
#include <cstdint>
#include <cstring>

#include "cpu/kernels/quantize_act/quantize_act_kernels.hpp"
#include "quant/check.hpp"

namespace dodeca::cpu {
namespace {

#define KERNEL(isa, function) KernelVariant<QuantizeActFn>{#function "_" #isa, isa_tag::isa, isa::function},
constexpr std::array kVariants{
#include "cpu/kernels/quantize_act/quantize_act.inc"
};
#undef KERNEL

constexpr std::int64_t block_of(ActFormat format) {
  return format == ActFormat::kF32 ? 1 : format == ActFormat::kQ8_32 ? 32 : 256;
}

}  // namespace

std::size_t act_row_bytes(ActFormat format, std::int64_t n) {
  const auto count = static_cast<std::size_t>(n);
  const std::size_t bytes = format == ActFormat::kF32     ? count * sizeof(float)
                            : format == ActFormat::kQ8_32 ? count / 32 * sizeof(Q8Block32)
                                                          : count / 256 * sizeof(Q8Block256);
  return (bytes + 63) / 64 * 64;
}

void quantize_act(ActFormat format, const float* x, std::int64_t n, std::byte* dst, Isa isa) noexcept {
  DODECA_CHECK(n >= 0 && n % block_of(format) == 0, n, format);
  DODECA_CHECK(reinterpret_cast<std::uintptr_t>(dst) % 64 == 0, dst);
  if (format == ActFormat::kF32) {
    std::memcpy(dst, x, static_cast<std::size_t>(n) * sizeof(float));
  } else {
    best_variant(kVariants, isa).run(format, x, n, dst);
  }
}

std::span<const KernelVariant<QuantizeActFn>> quantize_act_kernels() { return kVariants; }

}  // namespace dodeca::cpu
