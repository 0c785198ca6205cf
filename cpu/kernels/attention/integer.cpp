#include "cpu/kernels/attention/integer.hpp"

#include <cstring>

#include "cpu/kernels/attention/checked.hpp"
#include "cpu/kernels/attention/words.hpp"

namespace dodeca::cpu {
namespace {

constexpr std::array kVariants{
#define INTEGER_ATTENTION(isa, name) \
  KernelVariant<const IntegerAttention>{"integer_attention_" #isa, isa_tag::isa, checked<isa::name>()},
#include "cpu/kernels/attention/integer.inc"
};

}  // namespace

const IntegerAttention& integer_attention(Isa isa) { return *best_variant(kVariants, isa).run; }
std::span<const KernelVariant<const IntegerAttention>> integer_attention_kernels() { return kVariants; }

std::size_t int8_row_bytes(std::int64_t key, std::int64_t rope) {
  return 2 * sizeof(float) + static_cast<std::size_t>(key + 2 * rope);
}

void encode_int8_row(const float* row, std::int64_t key, std::int64_t rope, std::byte* out) noexcept {
  auto* q = reinterpret_cast<std::int8_t*>(out + 2 * sizeof(float));
  const float scale[] = {quantize_group(row, key, kByteTop, q),
                         quantize_words(row + key, rope, kRopeBlock, reinterpret_cast<std::int16_t*>(q + key))};
  std::memcpy(out, scale, sizeof scale);
}

void decode_int8_row(const std::byte* row, std::int64_t key, std::int64_t rope, float* out) noexcept {
  float scale[2];
  std::memcpy(scale, row, sizeof scale);
  const auto* q = reinterpret_cast<const std::int8_t*>(row + 2 * sizeof(float));
  const auto* q_rope = reinterpret_cast<const std::int16_t*>(q + key);
  for (std::int64_t i = 0; i < key; ++i) out[i] = scale[0] * static_cast<float>(q[i]);
  for (std::int64_t i = 0; i < rope; ++i) out[key + i] = scale[1] * static_cast<float>(q_rope[i]);
}

}  // namespace dodeca::cpu
