#include "runtime/base/hash.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace dodeca::runtime {
namespace {

constexpr std::size_t kWord = sizeof(std::uint64_t), kBlockWords = 512, kBlockBytes = kBlockWords * kWord;

// A block's sum is linear in its words, each times a factor of its own, and the whole's in the blocks: a piece that
// begins or ends within a word adds what it has of it. Factors are odd, so that no change of one word is lost.
using Factors = std::array<std::uint64_t, kBlockWords>;

Factors make_factors() {
  Factors factors;
  for (std::size_t i = 0; i < kBlockWords; ++i) factors[i] = mix64(i) | 1;
  return factors;
}

// Bytes [begin, end) of a block, at `data`.
unsigned __int128 sum_of_block(const std::byte* data, std::size_t begin, std::size_t end, const Factors& factors) {
  unsigned __int128 sum = 0;
  const auto add = [&](std::uint64_t word, std::size_t place) {
    sum += static_cast<unsigned __int128>(word) * factors[place / kWord];
  };
  const auto add_part = [&](std::size_t from, std::size_t n) {
    std::uint64_t word = 0;
    std::memcpy(reinterpret_cast<std::byte*>(&word) + from % kWord, data + (from - begin), n);
    add(word, from);
  };
  std::size_t at = begin;
  if (at % kWord != 0) {
    const std::size_t n = std::min(end - at, kWord - at % kWord);
    add_part(at, n);
    at += n;
  }
  unsigned __int128 other = 0;  // two sums, so that neither waits for its carries
  for (; at + 2 * kWord <= end; at += 2 * kWord) {
    std::uint64_t words[2];
    std::memcpy(words, data + (at - begin), sizeof words);
    sum += static_cast<unsigned __int128>(words[0]) * factors[at / kWord];
    other += static_cast<unsigned __int128>(words[1]) * factors[at / kWord + 1];
  }
  sum += other;
  if (at + kWord <= end) {
    std::uint64_t word = 0;
    std::memcpy(&word, data + (at - begin), kWord);
    add(word, at);
    at += kWord;
  }
  if (at < end) add_part(at, end - at);
  return sum;
}

}  // namespace

void PlacedSum::add(std::uint64_t key, std::uint64_t offset, std::span<const std::byte> data) {
  static const Factors kFactors = make_factors();
  while (!data.empty()) {
    const std::size_t begin = offset % kBlockBytes, n = std::min(data.size(), kBlockBytes - begin);
    const std::uint64_t factor = mix64(key + mix64(offset / kBlockBytes)) | 1;
    sum_ += sum_of_block(data.data(), begin, begin + n, kFactors) * factor;
    data = data.subspan(n);
    offset += n;
  }
}

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
