// Hashes that name and check things, the same on every machine and in every version. Not a defence against forgers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace dodeca::runtime {

// FNV-1a, 64 bits.
class Fnv1a {
 public:
  static constexpr std::uint64_t kStart = 0xcbf29ce484222325u, kPrime = 0x100000001b3u;
  void add(std::string_view bytes) {
    for (const char c : bytes) value_ = (value_ ^ static_cast<unsigned char>(c)) * kPrime;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = kStart;
};

inline std::uint64_t fnv1a(std::string_view bytes) {
  Fnv1a hash;
  hash.add(bytes);
  return hash.value();
}

// For much data, in pieces of any size: the same over 64-bit words, the last one padded with zeros. Finds torn and lost
// writes.
class Checksum {
 public:
  void add(std::span<const std::byte> data);
  void add(std::string_view data) { add(std::as_bytes(std::span(data))); }
  std::uint64_t value() const;

 private:
  std::uint64_t hash_ = Fnv1a::kStart, word_ = 0;
  std::size_t filled_ = 0;  // bytes of word_
};

// splitmix64 (Steele, Lea, Flood 2014): a sequence that does not depend on the standard library.
inline std::uint64_t mix64(std::uint64_t z) {
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// For data that threads read in pieces of any size and in any order: a sum in which every byte counts for its value at
// its place, so that the pieces' sums add up to the whole's. Each byte belongs to one piece. Tells changed data as
// surely as a random 64-bit number; several times as fast as reading memory is.
class PlacedSum {
 public:
  // `data` begin at byte `offset` of what `key`, a hash of its name, stands for.
  void add(std::uint64_t key, std::uint64_t offset, std::span<const std::byte> data);
  void add(const PlacedSum& other) { sum_ += other.sum_; }
  std::uint64_t value() const {
    return mix64(static_cast<std::uint64_t>(sum_)) ^ static_cast<std::uint64_t>(sum_ >> 64);
  }

 private:
  unsigned __int128 sum_ = 0;
};

}  // namespace dodeca::runtime
