#include "quant/iq_grids.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>

using namespace dodeca::quant;

namespace {

// CRC-32 as in zlib.
template <int kPoints, int kElements>
std::uint32_t crc32(const Grid<kPoints, kElements>& grid) {
  std::uint32_t crc = 0xffffffffu;
  for (const auto& point : grid.points) {
    for (const std::int8_t value : point) {
      crc ^= static_cast<std::uint8_t>(value);
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320u : 0u);
    }
  }
  return ~crc;
}

}  // namespace

TEST_CASE("lattice tables have the published checksums") {
  CHECK(crc32(kIq2xxsGrid) == 0x9924ff02u);
  CHECK(crc32(kIq2xsGrid) == 0xfa1e1bfdu);
  CHECK(crc32(kIq2sGrid) == 0x25ae5bf1u);
  CHECK(crc32(kIq1sGrid) == 0xb85e6ccfu);
  CHECK(crc32(kIq3xxsGrid) == 0x07ba9ed0u);
  CHECK(crc32(kIq3sGrid) == 0xf576e4f3u);
}

TEST_CASE("sign indices expand to an even number of signs") {
  CHECK(sign_byte(1) == 0x81);
  CHECK(sign_byte(3) == 0x03);
  CHECK(sign_byte(127) == 0xff);
  for (std::uint32_t index = 0; index < 128; ++index) {
    CHECK((sign_byte(index) & 127) == index);
    CHECK(__builtin_popcount(sign_byte(index)) % 2 == 0);
  }
}
