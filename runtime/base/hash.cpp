#include "runtime/base/hash.hpp"

#include <cstring>

namespace dodeca::runtime {

void Checksum::add(std::span<const std::byte> data) {
  std::size_t i = 0;
  const auto fold = [&](std::uint64_t word) {
    hash_ = (hash_ ^ word) * Fnv1a::kPrime;
    hash_ ^= hash_ >> 32;
  };
  while (i < data.size()) {
    if (filled_ == 0 && data.size() - i >= sizeof word_) {
      std::uint64_t word = 0;
      std::memcpy(&word, data.data() + i, sizeof word);
      fold(word);
      i += sizeof word;
      continue;
    }
    word_ |= static_cast<std::uint64_t>(data[i++]) << (8 * filled_);
    if (++filled_ == sizeof word_) {
      fold(word_);
      word_ = 0;
      filled_ = 0;
    }
  }
}

std::uint64_t Checksum::value() const { return filled_ == 0 ? hash_ : (hash_ ^ word_ ^ filled_) * Fnv1a::kPrime; }

}  // namespace dodeca::runtime
