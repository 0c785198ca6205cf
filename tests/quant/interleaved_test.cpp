// Groups of interleaved rows, decoded by way of plain rows, against ik_llama.cpp's own row decoders of these types.
#include "quant/interleaved.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <string_view>
#include <vector>

#include "quant/codec.hpp"

using namespace dodeca::quant;

namespace {

// Of four rows of two blocks, one after the other: sums of y, (i + 1) y and y^2, exact.
struct Expected {
  std::uint32_t id;
  std::string_view name;
  double sum, index_sum, square_sum;
};
constexpr Expected kExpected[] = {
    {233, "Q6_0_R4", -78.0, -18293.5, 31391.125},
    {337, "IQ2_K_R4", 3345.75, 3869234.5, 4679353.9375},
    {338, "IQ3_K_R4", -12671.0, -15655909.625, 272366554.65625},
    {339, "IQ4_K_R4", -13393.5, -24414045.125, 1196616094.28125},
    {340, "IQ5_K_R4", -7391.875, -2881916.5, 1248760797.859375},
    {344, "IQ4_KS_R4", 108295.0, 138353222.0, 16051859983.96875},
    {352, "IQ5_KS_R4", 59285.875, 82584316.875, 16387509967.109375},
};
constexpr int kBlocks = 2;

// Byte k is (167 k + 41 + 13 (k / 256)) mod 256; the scales of the rows are 1/8, 1/4, 1/2 and 1.
std::vector<std::byte> patterned_group(const TypeInfo& type) {
  std::vector<std::byte> group(4 * *row_bytes(type.dtype, kBlocks * type.block_elements));
  for (std::size_t k = 0; k < group.size(); ++k)
    group[k] = static_cast<std::byte>((167 * k + 41 + 13 * (k / 256)) & 255);
  constexpr float kScales[] = {0.125f, 0.25f, 0.5f, 1.0f};
  constexpr std::uint16_t kHalves[] = {0x3000, 0x3400, 0x3800, 0x3c00};
  if (type.row_prefix_bytes != 0) {
    std::memcpy(group.data(), kScales, sizeof kScales);
  } else {
    for (int block = 0; block < kBlocks; ++block) {
      std::memcpy(group.data() + 4 * block * type.block_bytes, kHalves, sizeof kHalves);
    }
  }
  return group;
}

}  // namespace

TEST_CASE("interleaved rows become plain rows with the same values") {
  for (const Expected& expected : kExpected) {
    CAPTURE(expected.name);
    const InterleavedType* interleaved = find_interleaved(expected.id);
    REQUIRE(interleaved != nullptr);
    CHECK(interleaved->name == expected.name);
    CHECK(interleaved->rows == 4);
    CHECK(find_type(expected.id) == nullptr);
    CHECK(foreign_type_name(expected.id).empty());
    const TypeInfo& type = type_info(interleaved->dtype);
    const std::int64_t n = kBlocks * type.block_elements;
    const std::vector<std::byte> group = patterned_group(type);
    std::vector<std::byte> rows(group.size());
    deinterleave(*interleaved, group.data(), n, rows.data());
    std::vector<float> y(static_cast<std::size_t>(4 * n));
    decode_rows(type.dtype, rows.data(), 4, n, y.data());
    double sum = 0, index_sum = 0, square_sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      sum += y[i];
      index_sum += static_cast<double>(i + 1) * y[i];
      square_sum += static_cast<double>(y[i]) * y[i];
    }
    CHECK(sum == expected.sum);
    CHECK(index_sum == expected.index_sum);
    CHECK(square_sum == expected.square_sum);
  }
  for (const std::uint32_t id : {139u, 212u, 399u}) CHECK(find_interleaved(id) == nullptr);
}
