// FNV-1a, 64 bits: names things the same on every machine and in every version. Not a defence against forgers.
#pragma once

#include <cstdint>
#include <string_view>

namespace dodeca::runtime {

class Fnv1a {
 public:
  void add(std::string_view bytes) {
    for (const char c : bytes) value_ = (value_ ^ static_cast<unsigned char>(c)) * 1099511628211u;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 14695981039346656037u;
};

inline std::uint64_t fnv1a(std::string_view bytes) {
  Fnv1a hash;
  hash.add(bytes);
  return hash.value();
}

}  // namespace dodeca::runtime
