// Decoding of one patterned block per format against values computed by independent implementations.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <vector>

#include "quant/codec.hpp"
#include "quant/dtype.hpp"
#include "quant/factors.hpp"

using namespace dodeca::quant;

namespace {

struct Vector {
  DType dtype;
  double first[6];
  double last[2];
  double sum, index_sum, square_sum;  // of y, (i + 1) y, y^2
};

// First and last values are rounded to six significant digits, sums are exact.
constexpr Vector kVectors[] = {
    {DType::kQ4_0, {-0.125, 0.75, -0.375, 0.5, -0.625, 0.25}, {0.125, -0.5}, -2.5, -45.5, 10.75},
    {DType::kQ4_1, {0.375, 1.25, 0.125, 1, -0.125, 0.75}, {1.5, 0.75}, 23.25, 404.625, 27.40625},
    {DType::kQ5_0, {0.375, 1.25, 0.125, -1, 1.875, 0.75}, {0.375, -0.375}, 3.0, 19.25, 34.0},
    {DType::kQ5_1, {1.875, 0.75, 3.625, 0.5, 1.375, 0.25}, {0.75, 2}, 54.75, 928.375, 132.78125},
    {DType::kQ8_0,
     {1.85938, 0.46875, -0.921875, 1.6875, 0.296875, -1.09375},
     {0.140625, -1.25},
     1.75,
     -8.75,
     43.23046875},
    {DType::kQ2_K, {1, -0.125, 3.25, 2.125, 1, -0.125}, {-0.9375, -0.4375}, 245.375, 30835.0, 861.890625},
    {DType::kQ3_K, {-0.875, 3.5, -2.625, 1.75, -0.875, 3.5}, {2.625, -10.5}, 5.625, -4561.875, 9518.796875},
    {DType::kQ4_K, {3.5625, -2.0625, 2.3125, 6.6875, 1.0625, 5.4375}, {49.0625, 27.8125}, 7134.0, 931291.0, 406359.875},
    {DType::kQ5_K,
     {13.5625, -2.0625, 12.3125, 6.6875, 11.0625, 5.4375},
     {40.5625, 87.3125},
     15098.0,
     1989725.0,
     1717386.875},
    {DType::kQ6_K,
     {-11.4844, -52.5, 37.7344, 22.9688, -18.0469, -32.8125},
     {-21.0938, 12.5},
     231.125,
     39923.3125,
     131348.4375},
    {DType::kIQ1_S,
     {-2.10938, -2.10938, -0.234375, -2.10938, 1.64062, -2.10938},
     {-0.546875, -0.546875},
     -19.75,
     -3148.125,
     217.2734375},
    {DType::kIQ1_M,
     {0.328125, -0.421875, -0.421875, -0.421875, -0.046875, -0.046875},
     {1.20312, -0.171875},
     2.5,
     192.625,
     202.28125},
    {DType::kIQ2_XXS,
     {-0.390625, -0.125, 0.125, 0.125, -0.125, 0.390625},
     {7.42188, -12.7656},
     143.0,
     27686.796875,
     9607.306640625},
    {DType::kIQ2_XS,
     {-1.875, -1.875, -1.875, -10.0781, 1.875, 10.0781},
     {-16.7969, 3.125},
     127.015625,
     20126.71875,
     11987.395263671875},
    {DType::kIQ2_S,
     {-12.1094, -12.1094, -3.875, 3.875, -12.1094, 12.1094},
     {0.390625, -0.671875},
     -177.109375,
     -19664.65625,
     10358.713134765625},
    {DType::kIQ3_XXS,
     {-9.6875, -1.875, -3.125, 3.125, -4.375, -4.375},
     {1.875, 13.125},
     -159.0,
     4851.75,
     66081.8203125},
    {DType::kIQ3_S,
     {-19.375, -50.375, -19.375, -34.875, 19.375, -19.375},
     {16.875, -10.125},
     -78.5,
     4863.25,
     98033.375},
    {DType::kIQ4_NL, {-1.25, 11.125, -4.375, 6.625, -8.125, 3.125}, {1.625, -6.125}, -29.5, -533.0, 2325.53125},
    {DType::kIQ4_XS,
     {-273, 2.625, 296.625, -57.75, 181.125, -128.625},
     {-34.125, 170.625},
     -1443.875,
     -55085.625,
     4756444.171875},
    // tests/golden/iq4_ks.py
    {DType::kIQ4_KS,
     {1087.5, -54.375, -1272.375, 195.75, -793.875, 489.375},
     {95.875, -479.375},
     -7286.0,
     -1096106.75,
     100976473.5},
    {DType::kIQ4_KSS,
     {-391.875, -34.375, -501.875, 687.5, 123.75, -199.375},
     {-23.75, -301.625},
     -1759.0,
     -185051.125,
     58914845.84375},
    // The other types of ik_llama.cpp: its own row decoders on these blocks. IQ6_K: with the table that it multiplies by.
    {DType::kQ6_0, {3.875, 0.75, -0.375, -3.5, 3.375, 0.25}, {-0.375, -3.125}, -7.5, -258.0, 176.5},
    {DType::kIQ2_K, {3, 9.75, -8.25, -2.25, 3, 9.75}, {4.875, 11.625}, 169.5, 26513.25, 25573.1875},
    {DType::kIQ3_K,
     {-44.625, 16.625, -14.875, 51.625, -44.625, 16.625},
     {73.5, -105},
     -506.875,
     -73903.625,
     1569014.234375},
    {DType::kIQ4_K,
     {-31.875, 230.625, 11.25, -174.375, 58.125, -106.875},
     {99.375, -18.75},
     382.375,
     12641.5,
     5317646.921875},
    {DType::kIQ5_K,
     {-114.375, 232.5, -84.375, 18.75, -58.125, 41.25},
     {163.125, -106.875},
     147.75,
     -36658.75,
     6398427.78125},
    {DType::kIQ6_K,
     {243.375, 479.375, -442.5, -206.5, 339.25, 612.125},
     {1325.25, -669.75},
     -3960.25,
     -659289.875,
     89025275.3125},
    {DType::kIQ2_KS, {-24.75, -6.75, 9, 29.25, -24.75, -6.75}, {0.75, -23.25}, -101.25, -80684.5, 97990.9375},
    {DType::kIQ5_KS,
     {-76.125, 522, -1337.62, 685.125, -1076.62, 880.875},
     {-317.125, -678.5},
     -1434.125,
     -352770.5,
     101870572.546875},
    {DType::kIQ3_KS,
     {41.125, -20.125, 11.375, -55.125, 41.125, -20.125},
     {23.75, 73.75},
     64.875,
     30000.375,
     334294.109375},
    {DType::kIQ2_KL,
     {-1.125, -31.5, 25.875, -31.5, -1.125, -1.125},
     {2.75, 35.75},
     1095.875,
     179554.25,
     1299203.078125},
    {DType::kTQ1_0, {-0.125, 0.125, 0, -0.125, 0.125, 0}, {0.125, 0}, -0.125, 73.125, 2.640625},
    {DType::kTQ2_0, {0, -0.125, 0.25, 0.125, 0, -0.125}, {0.125, 0}, 16.25, 2138.875, 5.96875},
    {DType::kMXFP4, {0, 1.5, -1, 0.75, -0.5, 0.375}, {-1.5, -0.125}, -0.25, -33.25, 19.25},
};

void put_u16(std::vector<std::byte>& block, std::size_t at, unsigned bits) {
  block[at] = static_cast<std::byte>(bits & 255);
  block[at + 1] = static_cast<std::byte>(bits >> 8);
}

// A row of one block. Byte k is (167 k + 41) mod 256, then the scales are set to powers of two.
std::vector<std::byte> patterned_block(DType dtype) {
  const auto prefix = static_cast<std::size_t>(type_info(dtype).row_prefix_bytes);
  std::vector<std::byte> block(prefix + static_cast<std::size_t>(type_info(dtype).block_bytes));
  for (std::size_t k = 0; k < block.size() - prefix; ++k) {
    block[prefix + k] = static_cast<std::byte>((167 * k + 41) & 255);
  }
  if (prefix == 2) put_u16(block, 0, 0x3000);
  if (prefix == 4) put_u16(block, 2, 0x3e00);
  if (dtype == DType::kIQ4_KSS) {  // all bits of all scales would be one: only those of every third word
    for (std::size_t i = 0; i < 64; ++i) {
      if (i % 3 != 0) block[prefix + 2 * i] &= std::byte{0xfe};
    }
  }
  if (prefix != 0) return block;
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
      put_u16(block, 0, 0x3000);
      put_u16(block, 2, 0xb400);
      break;
    case DType::kQ8_0:
      put_u16(block, 0, 0x2400);
      break;
    case DType::kQ6_K:
      put_u16(block, 208, 0x2400);
      break;
    case DType::kQ2_K:
      put_u16(block, 80, 0x3000);
      put_u16(block, 82, 0x2c00);
      break;
    case DType::kQ3_K:
      put_u16(block, 108, 0x3000);
      break;
    case DType::kQ4_K:
    case DType::kQ5_K:
      put_u16(block, 0, 0x3000);
      put_u16(block, 2, 0x2c00);
      break;
    case DType::kTQ1_0:
      put_u16(block, 52, 0x3000);
      break;
    case DType::kTQ2_0:
      put_u16(block, 64, 0x3000);
      break;
    case DType::kMXFP4:
      block[0] = std::byte{0x7d};
      break;
    case DType::kIQ1_M:
      for (const int at : {49, 51, 53, 55}) block[static_cast<std::size_t>(at)] &= std::byte{0x0f};
      block[55] |= std::byte{0x30};
      break;
    default:
      put_u16(block, 0, 0x3000);
  }
  return block;
}

// What patterned_block() sets.
struct Factors {
  float d, m = 0.0f;
};
Factors factors_of(DType dtype) {
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
      return {0.125f, -0.25f};
    case DType::kQ2_K:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0.125f, 0.0625f};
    case DType::kQ8_0:
    case DType::kQ6_K:
      return {0.015625f};
    case DType::kMXFP4:
      return {0.25f};
    default:
      return {0.125f};
  }
}

void check_rounded(double got, double want) {
  CAPTURE(got);
  CAPTURE(want);
  CHECK(std::fabs(got - want) <= 5.001e-6 * std::fabs(want));
}

}  // namespace

TEST_CASE("patterned blocks decode to the published vectors") {
  for (const Vector& vector : kVectors) {
    CAPTURE(name_of(vector.dtype));
    const TypeInfo& type = type_info(vector.dtype);
    const auto n = static_cast<std::size_t>(type.block_elements);
    std::vector<float> y(n, NAN);
    decode_row(vector.dtype, patterned_block(vector.dtype).data(), y.data(), type.block_elements);
    double sum = 0, index_sum = 0, square_sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      sum += y[i];
      index_sum += static_cast<double>(i + 1) * y[i];
      square_sum += static_cast<double>(y[i]) * y[i];
    }
    for (std::size_t i = 0; i < 6; ++i) check_rounded(y[i], vector.first[i]);
    check_rounded(y[n - 2], vector.last[0]);
    check_rounded(y[n - 1], vector.last[1]);
    CHECK(sum == vector.sum);
    CHECK(index_sum == vector.index_sum);
    CHECK(square_sum == vector.square_sum);
    CHECK(find_non_finite(vector.dtype, patterned_block(vector.dtype).data(), type.block_elements) == -1);
  }
}

TEST_CASE("factors set from outside: other ones and then the block's own give the block back") {
  for (const TypeInfo& type : all_types()) {
    if (factor_kind(type.dtype) == FactorKind::kNone) continue;
    CAPTURE(type.name);
    const std::vector<std::byte> block = patterned_block(type.dtype);
    const auto [d, m] = factors_of(type.dtype);
    CHECK((factor_kind(type.dtype) == FactorKind::kAffine) == (m != 0.0f));
    std::vector<std::byte> changed = block;
    set_factors(type.dtype, changed.data(), type.block_elements, 2.0f, 3.0f);
    CHECK(changed != block);
    set_factors(type.dtype, changed.data(), type.block_elements, d, m);
    CHECK(changed == block);
  }
}

TEST_CASE("every type of blocks of 32 or 256 weights has a vector") {
  for (const TypeInfo& type : all_types()) {
    if (!type.decodable || type.block_elements == 1) continue;
    if (type.dtype == DType::kQ8_K || type.dtype == DType::kF8_E4M3_B128) continue;  // in codec_test.cpp
    bool found = false;
    for (const Vector& vector : kVectors) found |= vector.dtype == type.dtype;
    CAPTURE(type.name);
    CHECK(found);
  }
}
