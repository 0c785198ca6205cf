// Numbers of bytes as sentences say them.
#pragma once

#include <cstdint>

namespace dodeca::runtime {

inline constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
inline double gib(std::uint64_t bytes) { return static_cast<double>(bytes) / kGiB; }

}  // namespace dodeca::runtime
