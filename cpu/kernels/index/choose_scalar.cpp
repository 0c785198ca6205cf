#include <bit>

#include "cpu/kernels/index/choose_kernels.hpp"

namespace dodeca::cpu::scalar {
namespace {

std::int32_t key_of(float score) { return order_of(std::bit_cast<std::int32_t>(score)); }

std::int64_t keep(const float* scores, std::int64_t n, std::int32_t least, std::int32_t* keys) noexcept {
  std::int64_t m = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int32_t key = key_of(scores[i]);
    keys[m] = key;
    m += key >= least;
  }
  return m;
}

void emit(const float* scores, std::int32_t threshold, std::int64_t n_equal, std::int64_t k,
          std::int32_t* indices) noexcept {
  for (std::int64_t i = 0, count = 0; count < k; ++i) {
    const std::int32_t key = key_of(scores[i]);
    const bool equal = key == threshold && n_equal > 0;
    indices[count] = static_cast<std::int32_t>(i);
    count += key > threshold || equal;
    n_equal -= equal;
  }
}

}  // namespace

constinit const ChooseSteps kChooseSteps{keep, emit};

}  // namespace dodeca::cpu::scalar
