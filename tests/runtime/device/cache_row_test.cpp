// Rows that are made for a device's cache, against bytes worked out by hand from gpu/kernels/cache_rows.hpp.
#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "runtime/device/device_cache.hpp"

namespace {

using namespace dodeca;

template <class T>
T at(const std::vector<std::byte>& row, std::size_t offset) {
  T value;
  std::memcpy(&value, row.data() + offset, sizeof value);
  return value;
}

std::vector<std::byte> encoded(gpu::CacheType type, const std::vector<float>& values) {
  const gpu::CacheShape shape{.latent = 64, .rope = 16, .type = type};
  std::vector<std::byte> row(static_cast<std::size_t>(gpu::cache_row_bytes(shape)));
  runtime::device::encode_cache_row(values.data(), shape, row.data());
  return row;
}

}  // namespace

TEST_CASE("a row of every type of a device's cache") {
  std::vector<float> values(80, 0.0f);
  values[0] = 63.5f;
  values[1] = -31.75f;
  values[2] = 0.25f;  // half a step: to even, 0
  values[64] = 1.0f;  // the rotated part
  values[79] = -3.0f;

  const std::vector<std::byte> bytes = encoded(gpu::CacheType::kInt8, values);
  REQUIRE(bytes.size() == 64 + 2 * 16 + 16);
  CHECK(at<std::int8_t>(bytes, 0) == 127);
  CHECK(at<std::int8_t>(bytes, 1) == -64);  // 63.5 of 127: to even
  CHECK(at<std::int8_t>(bytes, 2) == 0);
  CHECK(at<std::uint16_t>(bytes, 64) == 0x4000);           // 2 steps of 0.5
  CHECK(at<std::uint16_t>(bytes, 64 + 2 * 15) == 0xc0c0);  // -6 steps
  CHECK(at<float>(bytes, 96) == 0.5f);

  const std::vector<std::byte> zeros = encoded(gpu::CacheType::kInt8, std::vector<float>(80, 0.0f));
  CHECK(at<std::int8_t>(zeros, 0) == 0);
  CHECK(at<float>(zeros, 96) == 1.0f);

  values[3] = 1e6f;  // more than F16 holds
  const std::vector<std::byte> halves = encoded(gpu::CacheType::kF16, values),
                               wide = encoded(gpu::CacheType::kBf16, values),
                               floats = encoded(gpu::CacheType::kF32, values);
  CHECK(at<std::uint16_t>(halves, 0) == 0x53f0);
  CHECK(at<std::uint16_t>(halves, 6) == 0x7bff);
  CHECK(at<std::uint16_t>(halves, 128) == 0x3c00);
  CHECK(at<std::uint16_t>(wide, 0) == 0x427e);
  CHECK(at<std::uint16_t>(wide, 128) == 0x3f80);
  CHECK(std::memcmp(floats.data(), values.data(), 320) == 0);
}
