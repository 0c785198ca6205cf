#include <array>
#include <bit>

#include "cpu/kernels/index/index.hpp"
#include "quant/check.hpp"

namespace dodeca::cpu {
namespace {

constexpr int kBits = 11;  // of a digit; the first of three has sign, exponent and two bits of the mantissa
constexpr std::uint32_t kDigits = 1u << kBits;

// In the order of the scores.
std::uint32_t key_of(float score) {
  const auto bits = std::bit_cast<std::uint32_t>(score);
  return bits ^ ((bits >> 31) != 0 ? 0xffffffffu : 0x80000000u);
}

// The highest digit with fewer than `k` above it; k becomes what is wanted of it.
std::uint32_t digit_of(const std::uint32_t* counts, std::int64_t& k) {
  std::uint32_t digit = kDigits - 1;
  for (; digit > 0 && counts[digit] < k; --digit) k -= counts[digit];
  return digit;
}

}  // namespace

void choose_highest(const float* scores, std::int64_t n, std::int64_t k, std::uint32_t* scratch,
                    std::int32_t* chosen) noexcept {
  DODECA_CHECK(0 < k && k <= n, k, n);
  // Neighbours often have the same first digit: four counts of each do not wait for each other.
  std::array<std::array<std::uint32_t, kDigits>, 4> first = {};
  for (std::int64_t i = 0; i < n; ++i) ++first[static_cast<std::size_t>(i % 4)][key_of(scores[i]) >> (32 - kBits)];
  for (std::uint32_t d = 0; d < kDigits; ++d) first[0][d] += first[1][d] + first[2][d] + first[3][d];
  std::int64_t wanted = k;  // of those that share all digits so far
  std::uint32_t threshold = digit_of(first[0].data(), wanted) << (32 - kBits);
  std::int64_t m = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t key = key_of(scores[i]);
    scratch[m] = key;
    m += key >> (32 - kBits) == threshold >> (32 - kBits);
  }
  for (int shift = 32 - 2 * kBits; shift >= 0; shift = shift > 0 ? 0 : -1) {
    const std::uint32_t mask = shift > 0 ? kDigits - 1 : (1u << (32 - 2 * kBits)) - 1;
    std::array<std::uint32_t, kDigits> counts = {};
    for (std::int64_t i = 0; i < m; ++i) ++counts[scratch[i] >> shift & mask];
    const std::uint32_t digit = digit_of(counts.data(), wanted);
    threshold |= digit << shift;
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < m; ++i) {
      scratch[kept] = scratch[i];
      kept += (scratch[i] >> shift & mask) == digit;
    }
    m = kept;
  }
  std::int64_t count = 0;
  for (std::int64_t i = 0; count < k; ++i) {
    const std::uint32_t key = key_of(scores[i]);
    const bool equal = key == threshold && wanted > 0;
    chosen[count] = static_cast<std::int32_t>(i);
    count += key > threshold || equal;
    wanted -= equal;
  }
}

}  // namespace dodeca::cpu
