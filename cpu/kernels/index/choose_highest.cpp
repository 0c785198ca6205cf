// A sample of the scores says about where the k-th lies; one pass keeps what is not far below, the k-th of that is
// found digit by digit, and a second pass lists what is above it.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "cpu/kernels/index/choose_kernels.hpp"
#include "cpu/kernels/index/index.hpp"
#include "quant/check.hpp"

namespace dodeca::cpu {
namespace {

constexpr std::array kVariants{
#define CHOOSE_STEPS(isa, name) KernelVariant<const ChooseSteps>{"choose_highest_" #isa, isa_tag::isa, &isa::name},
#include "cpu/kernels/index/choose.inc"
};

constexpr std::int64_t kSampled = 2048;  // scores, of at least twice as many

struct Threshold {
  std::int32_t key = 0;
  std::int64_t n_equal = 0;  // of the k highest, those that equal it
};

// The k-th highest of n keys, which lose their order. 0 < k <= n.
Threshold kth_highest(std::int32_t* keys, std::int64_t n, std::int64_t k) {
  constexpr int kBits = 11;
  std::uint32_t prefix = 0;
  for (int shift = 32 - kBits, bits = kBits;; bits = std::min(shift, kBits), shift -= bits) {
    const std::uint32_t mask = (1u << bits) - 1;
    const auto digit_of = [&](std::int64_t i) {
      return (static_cast<std::uint32_t>(keys[i]) ^ 0x80000000u) >> shift & mask;
    };
    std::array<std::uint32_t, 1u << kBits> counts = {};
    for (std::int64_t i = 0; i < n; ++i) ++counts[digit_of(i)];
    std::uint32_t digit = mask;
    for (; counts[digit] < k; --digit) k -= counts[digit];
    prefix |= digit << shift;
    if (shift == 0) return {static_cast<std::int32_t>(prefix ^ 0x80000000u), k};
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < n; ++i) {
      const bool same = digit_of(i) == digit;
      keys[kept] = keys[i];
      kept += same;
    }
    n = kept;
  }
}

// A key below which the k-th highest hardly lies.
std::int32_t guess(const float* scores, std::int64_t n, std::int64_t k, std::int32_t* scratch) {
  if (n < 2 * kSampled) return std::numeric_limits<std::int32_t>::min();
  const std::int64_t stride = n / kSampled, expected = k / stride;
  // The rank of the k-th in the sample deviates by the square root of what is expected.
  const std::int64_t rank = expected + static_cast<std::int64_t>(5 * std::sqrt(static_cast<double>(expected))) + 8;
  if (rank > kSampled) return std::numeric_limits<std::int32_t>::min();
  for (std::int64_t i = 0; i < kSampled; ++i) scratch[i] = order_of(std::bit_cast<std::int32_t>(scores[i * stride]));
  return kth_highest(scratch, kSampled, rank).key;
}

}  // namespace

void choose_highest(const ChooseArgs& a, Isa isa) noexcept {
  DODECA_CHECK(0 < a.k && a.k <= a.n, a.k, a.n);
  const ChooseSteps& steps = *best_variant(kVariants, isa).run;
  std::int64_t kept = steps.keep(a.scores, a.n, guess(a.scores, a.n, a.k, a.scratch), a.scratch);
  if (kept < a.k) kept = steps.keep(a.scores, a.n, std::numeric_limits<std::int32_t>::min(), a.scratch);
  const Threshold threshold = kth_highest(a.scratch, kept, a.k);
  steps.emit(a.scores, threshold.key, threshold.n_equal, a.k, a.chosen);
}

}  // namespace dodeca::cpu
