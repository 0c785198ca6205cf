// The two steps of choose_highest() that look at every score, and their variants.
#pragma once

#include <cstdint>

namespace dodeca::cpu {

// Scores as whole numbers in the same order.
constexpr std::int32_t order_of(std::int32_t bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

struct ChooseSteps {
  // The keys of n scores that are `least` at least, in any order; returns how many. `keys` has room for n +
  // kChooseSlack.
  std::int64_t (*keep)(const float* scores, std::int64_t n, std::int32_t least, std::int32_t* keys) noexcept;
  // The indices of scores above the threshold, and of the first `n_equal` that equal it: k of them in all.
  void (*emit)(const float* scores, std::int32_t threshold, std::int64_t n_equal, std::int64_t k,
               std::int32_t* indices) noexcept;
};
inline constexpr std::int64_t kChooseSlack = 16;

#define CHOOSE_STEPS(isa, name)  \
  namespace isa {                \
  extern const ChooseSteps name; \
  }
#include "cpu/kernels/index/choose.inc"

}  // namespace dodeca::cpu
