#include "quant/mxfp4_pairs.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "quant/codec.hpp"

using namespace dodeca;

// Every code at every place: what the blocks decode to is what the pairs say, to the last bit.
TEST_CASE("MXFP4 in pairs becomes blocks without rounding") {
  constexpr std::array<float, 8> kValues = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  std::mt19937 rng(1);
  constexpr std::int64_t kBlocks = 512, n = kBlocks * quant::kMxfp4Block;
  std::vector<std::byte> codes(n / 2), scales(kBlocks), blocks(*quant::row_bytes(quant::DType::kMXFP4, n));
  for (std::byte& code : codes) code = static_cast<std::byte>(rng());
  for (std::int64_t b = 0; b < kBlocks; ++b) scales[b] = static_cast<std::byte>(b % 255);
  quant::mxfp4_pairs_to_blocks(codes.data(), scales.data(), kBlocks, blocks.data());
  std::vector<float> got(n);
  quant::decode_row(quant::DType::kMXFP4, blocks.data(), got.data(), n);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto code = std::to_integer<unsigned>(codes[i / 2] >> (i % 2 * 4)) & 15u;
    const int exponent = std::to_integer<int>(scales[i / quant::kMxfp4Block]) - 127;
    const float want = std::ldexp(code < 8 ? kValues[code] : -kValues[code - 8], exponent);
    CAPTURE(i);
    REQUIRE(got[i] == want);
  }
}

TEST_CASE("the halves of a block of MXFP4 are its first and its last values") {
  std::array<std::byte, 16> codes{};
  codes[0] = std::byte{0x21};   // values 0 and 1
  codes[8] = std::byte{0x43};   // values 16 and 17
  codes[15] = std::byte{0x65};  // values 30 and 31
  const std::byte scale{130};
  std::array<std::byte, 17> block{};
  quant::mxfp4_pairs_to_blocks(codes.data(), &scale, 1, block.data());
  CHECK(block[0] == scale);
  CHECK(block[1] == std::byte{0x31});
  CHECK(block[2] == std::byte{0x42});
  CHECK(block[15] == std::byte{0x50});
  CHECK(block[16] == std::byte{0x60});
}
