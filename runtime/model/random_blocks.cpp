#include "runtime/model/random_blocks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "quant/blocks.hpp"
#include "quant/codec.hpp"
#include "quant/float_types.hpp"

namespace dodeca::runtime {
namespace {

using quant::DType;

constexpr std::ptrdiff_t kNone = -1;

// Where a block keeps its f16 factors: of the codes, and of the minima or offsets.
struct Factors {
  std::ptrdiff_t d = kNone, m = kNone;
};

Factors factors_of(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ8_0:
    case DType::kIQ4_NL:
    case DType::kIQ4_XS:
    case DType::kIQ1_S:
    case DType::kIQ2_XXS:
    case DType::kIQ2_XS:
    case DType::kIQ2_S:
    case DType::kIQ3_XXS:
    case DType::kIQ3_S:
      return {0, kNone};
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {offsetof(quant::BlockQ2_K, d), offsetof(quant::BlockQ2_K, dmin)};
    case DType::kQ3_K:
      return {offsetof(quant::BlockQ3_K, d), kNone};
    case DType::kQ6_K:
      return {offsetof(quant::BlockQ6_K, d), kNone};
    case DType::kTQ1_0:
      return {offsetof(quant::BlockTQ1_0, d), kNone};
    case DType::kTQ2_0:
      return {offsetof(quant::BlockTQ2_0, d), kNone};
    default:
      return {};
  }
}

void put_f16(std::byte* at, double value) {
  const std::uint16_t bits = quant::finite_f16(static_cast<float>(value));
  std::memcpy(at, &bits, sizeof bits);
}

void set_factors(DType dtype, std::byte* block, double d, double m) {
  if (dtype == DType::kMXFP4) {  // E8M0: 127 stands for 1
    block[0] = static_cast<std::byte>(std::clamp(std::lround(127 + std::log2(d)), 1L, 254L));
  } else if (dtype == DType::kIQ1_M) {  // four top nibbles, lowest first
    const std::uint16_t bits = quant::finite_f16(static_cast<float>(d));
    for (int i = 0; i < 4; ++i) {
      std::byte& high = block[offsetof(quant::BlockIQ1_M, scales) + static_cast<std::size_t>(2 * i + 1)];
      high = (high & std::byte{0x0f}) | static_cast<std::byte>((bits >> (4 * i) & 0x0f) << 4);
    }
  } else {
    const Factors at = factors_of(dtype);
    if (at.d != kNone) put_f16(block + at.d, d);
    if (at.m != kNone) put_f16(block + at.m, m);
  }
}

struct Moments {
  double mean = 0, deviation = 0;
};

// Of the first blocks, with these factors.
Moments moments(DType dtype, std::vector<std::byte> blocks, double d, double m) {
  const quant::TypeInfo& info = quant::type_info(dtype);
  const auto size = static_cast<std::size_t>(info.block_bytes);
  constexpr std::size_t kSample = 1024;
  blocks.resize(std::min(blocks.size(), kSample * size));
  for (std::size_t at = 0; at < blocks.size(); at += size) set_factors(dtype, blocks.data() + at, d, m);
  std::vector<float> values(blocks.size() / size * static_cast<std::size_t>(info.block_elements));
  quant::decode_row(dtype, blocks.data(), values.data(), static_cast<std::int64_t>(values.size()));
  double sum = 0, squares = 0;
  for (const float v : values) sum += v, squares += static_cast<double>(v) * v;
  const auto n = static_cast<double>(values.size());
  return {sum / n, std::sqrt(std::max(0.0, squares / n - sum / n * (sum / n)))};
}

// Types whose values are their own factors, or whose encoder is a plain rounding.
std::vector<std::byte> encoded(DType dtype, std::int64_t n_blocks, double deviation, std::uint64_t seed) {
  const quant::TypeInfo& info = quant::type_info(dtype);
  std::vector<float> values(static_cast<std::size_t>(n_blocks * info.block_elements));
  for (std::size_t i = 0; i < values.size(); ++i) {  // uniform in +-sqrt(3): deviation 1
    const double unit = static_cast<double>(mix64(seed + i) >> 11) * 0x1p-53;
    values[i] = static_cast<float>((2 * unit - 1) * std::sqrt(3.0) * deviation);
  }
  std::vector<std::byte> blocks(static_cast<std::size_t>(n_blocks * info.block_bytes));
  quant::encode_row(dtype, values.data(), blocks.data(), static_cast<std::int64_t>(values.size()));
  return blocks;
}

}  // namespace

std::vector<std::byte> random_blocks(DType dtype, std::int64_t n_blocks, double deviation, std::uint64_t seed) {
  const Factors at = factors_of(dtype);
  if (at.d == kNone && dtype != DType::kMXFP4 && dtype != DType::kIQ1_M)
    return encoded(dtype, n_blocks, deviation, seed);
  const auto size = static_cast<std::size_t>(quant::type_info(dtype).block_bytes);
  std::vector<std::byte> blocks(static_cast<std::size_t>(n_blocks) * size);
  for (std::size_t i = 0; i < blocks.size(); i += sizeof seed) {
    const std::uint64_t word = mix64(seed + i);
    std::memcpy(blocks.data() + i, &word, std::min(sizeof word, blocks.size() - i));
  }
  // Factors from what the codes decode to with factor 1, so that no format's statistics are written down here.
  const double codes = moments(dtype, blocks, 1, 0).mean;
  const double minima = at.m == kNone ? 0 : moments(dtype, blocks, 0, 1).mean;
  const double ratio = minima == 0 ? 0 : -codes / minima;
  const double d = deviation / moments(dtype, blocks, 1, ratio).deviation;
  for (std::size_t i = 0; i < blocks.size(); i += size) set_factors(dtype, blocks.data() + i, d, ratio * d);
  return blocks;
}

}  // namespace dodeca::runtime
