#include <cstring>

#include "cpu/kernels/bandwidth/bandwidth_kernels.hpp"

namespace dodeca::cpu::scalar {

std::uint64_t xor_of(const std::byte* data, std::size_t bytes) noexcept {
  std::uint64_t result = 0;
  for (std::size_t i = 0; i < bytes; i += sizeof result) {
    std::uint64_t word;
    std::memcpy(&word, data + i, sizeof word);
    result ^= word;
  }
  return result;
}

}  // namespace dodeca::cpu::scalar
