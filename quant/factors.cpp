#include "quant/factors.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/formats/formats.hpp"

namespace dodeca::quant {
namespace {

template <class Block>
void for_each_block(std::byte* at, std::int64_t n_blocks, auto&& change) {
  Block block;
  for (std::int64_t i = 0; i < n_blocks; ++i, at += sizeof block) {
    std::memcpy(&block, at, sizeof block);
    change(block);
    std::memcpy(at, &block, sizeof block);
  }
}

std::uint16_t bits_of(DType dtype, float d) {
  if (dtype == DType::kMXFP4)  // E8M0: 127 stands for 1
    return static_cast<std::uint16_t>(std::clamp(std::lround(127 + std::log2(d)), 1L, 254L));
  return finite_f16(d);
}

template <DType T>
void set(std::byte* row, std::int64_t n_blocks, float d, float m) {
  using F = Format<T>;
  if constexpr (requires { requires F::kRowPrefix == sizeof d; }) {
    std::memcpy(row, &d, sizeof d);
  } else if constexpr (requires { requires F::kRowPrefix != 0; }) {
    const std::uint16_t bits = finite_f16(d);
    static_assert(F::kRowPrefix == sizeof bits);
    std::memcpy(row, &bits, sizeof bits);
  } else if constexpr (requires(typename F::Block block, RowBlock numbers) { F::read(block, numbers); }) {
    for_each_block<typename F::Block>(row, n_blocks, [&](typename F::Block& block) {
      RowBlock numbers;
      F::read(block, numbers);
      numbers.d = bits_of(T, d);
      if constexpr (F::kMinima || F::kOffset) numbers.m = finite_f16(m);
      block = {};
      F::write(numbers, block);
    });
  } else {
    for_each_block<typename F::Block>(row, n_blocks, [&](typename F::Block& block) { block.d = finite_f16(d); });
  }
}

template <DType T>
constexpr FactorKind kind_of() {
  return Format<T>::kMinima || Format<T>::kOffset ? FactorKind::kAffine : FactorKind::kScale;
}

}  // namespace

FactorKind factor_kind(DType dtype) {
  switch (dtype) {
#define TYPE(...)
#define BLOCKS(name, ...) \
  case DType::k##name:    \
    return kind_of<DType::k##name>();
#include "quant/types.inc"
    case DType::kTQ1_0:
    case DType::kTQ2_0:
      return FactorKind::kScale;
    default:
      return FactorKind::kNone;
  }
}

void set_factors(DType dtype, std::byte* row, std::int64_t n, float d, float m) {
  const std::int64_t n_blocks = n / type_info(dtype).block_elements;
  switch (dtype) {
#define TYPE(...)
#define BLOCKS(name, ...) \
  case DType::k##name:    \
    return set<DType::k##name>(row, n_blocks, d, m);
#include "quant/types.inc"
    case DType::kTQ1_0:
      return set<DType::kTQ1_0>(row, n_blocks, d, m);
    case DType::kTQ2_0:
      return set<DType::kTQ2_0>(row, n_blocks, d, m);
    default:
      return;
  }
}

}  // namespace dodeca::quant
