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

}  // namespace dodeca::runtime
