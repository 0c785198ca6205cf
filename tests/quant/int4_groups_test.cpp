#include "quant/int4_groups.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "quant/codec.hpp"
#include "quant/float_types.hpp"

namespace {

using namespace dodeca::quant;

// The definition, one weight at a time: code i is bits 4 (i mod 8) and up of word i / 8.
float weight_of(const std::vector<std::uint32_t>& words, const std::vector<float>& scales, std::int64_t group,
                std::int64_t i) {
  const std::uint32_t code = (words[static_cast<std::size_t>(i / 8)] >> (4 * (i % 8))) & 15u;
  return (static_cast<float>(code) - 8.0f) * scales[static_cast<std::size_t>(i / group)];
}

struct Row {
  std::int64_t n, group;
  std::vector<std::uint32_t> words;
  std::vector<float> scales;
  std::vector<std::byte> q4_0;

  Row(std::int64_t n_weights, std::int64_t group_size)
      : n(n_weights),
        group(group_size),
        words(static_cast<std::size_t>(n / 8)),
        scales(static_cast<std::size_t>(n / group)),
        q4_0(static_cast<std::size_t>(n / 32 * 18)) {}
  const std::byte* codes() const { return reinterpret_cast<const std::byte*>(words.data()); }
  std::int64_t convert() { return int4_groups_to_q4_0(codes(), scales.data(), n, group, q4_0.data()); }
  void check_values() {
    std::vector<float> got(static_cast<std::size_t>(n)), plain(static_cast<std::size_t>(n));
    REQUIRE(convert() == -1);
    decode_row(DType::kQ4_0, q4_0.data(), got.data(), n);
    decode_int4_groups(codes(), scales.data(), n, group, plain.data());
    for (std::int64_t i = 0; i < n; ++i) {
      const float want = weight_of(words, scales, group, i);
      if (got[static_cast<std::size_t>(i)] != want || plain[static_cast<std::size_t>(i)] != want)
        FAIL("weight ", i, " is ", got[static_cast<std::size_t>(i)], " and ", plain[static_cast<std::size_t>(i)],
             ", not ", want);
    }
  }
};

TEST_CASE("groups of 4-bit integers become Q4_0 blocks of the same values") {
  std::mt19937 random(7);
  for (const std::int64_t group : {32, 64, 128}) {
    for (int round = 0; round < 50; ++round) {
      Row row(512, group);
      for (std::uint32_t& word : row.words) word = static_cast<std::uint32_t>(random());
      // Every bfloat16 from 2^-17 to 65280, of either sign.
      for (float& scale : row.scales)
        scale = bf16_to_f32(static_cast<std::uint16_t>((random() % 2) << 15 | (0x3700 + random() % 0x1080)));
      row.check_values();
    }
  }
}

TEST_CASE("f16 scales are kept as they are") {
  Row row(32, 32);
  for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
    row.scales[0] = f16_to_f32(static_cast<std::uint16_t>(bits));
    row.words = {0x76543210, 0xfedcba98, bits, ~bits};
    REQUIRE(row.convert() == -1);
    std::uint16_t kept = 0;
    std::memcpy(&kept, row.q4_0.data(), sizeof kept);
    REQUIRE(kept == bits);
  }
  row.check_values();
}

TEST_CASE("a scale that f16 does not have is told, unless its weights are all zero") {
  const std::uint32_t zeros = 0x88888888;
  Row row(96, 32);
  row.words.assign(row.words.size(), zeros);
  row.words[4] = 0x88888889;  // in the second group, the first weight is 1
  row.scales = {0x1.02p-18f, 1.0f, 0x1.02p+16f};
  row.check_values();
  for (const float scale : {0x1.02p-18f, 0x1p-25f, 0x1p-133f, 65536.0f, 0x1p100f}) {
    row.scales[1] = scale;
    CHECK(row.convert() == 1);
    row.scales[1] = -scale;
    CHECK(row.convert() == 1);
  }
  for (const float scale : {0x1p-24f, 0x1.8p-20f, 65280.0f}) {
    row.scales[1] = scale;
    row.check_values();
  }
  row.scales[1] = 1.0f;
  for (const float scale : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    row.scales[2] = scale;
    CHECK(row.convert() == 2);
  }
}

}  // namespace
