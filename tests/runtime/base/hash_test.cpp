#include "runtime/base/hash.hpp"

#include <doctest/doctest.h>

#include <random>
#include <vector>

using namespace dodeca::runtime;

namespace {

std::vector<std::byte> random_bytes(std::size_t n) {
  std::mt19937 rng(7);
  std::vector<std::byte> bytes(n);
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng());
  return bytes;
}

std::uint64_t placed(std::span<const std::byte> bytes, std::uint64_t key = 1, std::uint64_t offset = 0) {
  PlacedSum sum;
  sum.add(key, offset, bytes);
  return sum.value();
}

}  // namespace

TEST_CASE("a placed sum does not depend on pieces and their order") {
  const std::vector<std::byte> bytes = random_bytes(20001);
  const std::span<const std::byte> all(bytes);
  const std::uint64_t whole = placed(all, 1, 3);
  for (const std::size_t piece : {1u, 7u, 8u, 34u, 4096u, 5000u}) {
    PlacedSum even, odd;  // as if by two threads
    for (std::size_t at = 0, n = 0; at < all.size(); at += piece, ++n)
      (n % 2 == 0 ? even : odd).add(1, 3 + at, all.subspan(at, std::min(piece, all.size() - at)));
    odd.add(even);
    CHECK(odd.value() == whole);
  }
}

TEST_CASE("a placed sum sees every byte, its place and whose it is") {
  std::vector<std::byte> bytes = random_bytes(9000);
  const std::uint64_t whole = placed(bytes);
  CHECK(placed(bytes, 2) != whole);
  CHECK(placed(bytes, 1, 1) != whole);
  CHECK(placed(bytes, 1, 4096) != whole);
  for (const std::size_t at : {0u, 7u, 4095u, 4096u, 8999u}) {
    bytes[at] ^= std::byte{0x80};
    CHECK(placed(bytes) != whole);
    bytes[at] ^= std::byte{0x80};
  }
  std::swap_ranges(bytes.begin(), bytes.begin() + 4096, bytes.begin() + 4096);
  CHECK(placed(bytes) != whole);
}
