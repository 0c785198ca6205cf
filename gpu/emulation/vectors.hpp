// CUDA's small vectors: int4, uint2, float4 and their kind, with make_*.
#pragma once

#include <cstdint>

namespace dodeca::gpu::emulation {

// NOLINTBEGIN(readability-identifier-naming): CUDA's names
#define VECTORS(type, name)                                        \
  struct alignas(2 * sizeof(type)) name##2 {                       \
    type x, y;                                                     \
  };                                                               \
  struct alignas(4 * sizeof(type)) name##4 {                       \
    type x, y, z, w;                                               \
  };                                                               \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; } \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
VECTORS(int, int)
VECTORS(unsigned, uint)
VECTORS(float, float)
VECTORS(short, short)
VECTORS(unsigned short, ushort)
VECTORS(signed char, char)
VECTORS(unsigned char, uchar)
#undef VECTORS
// NOLINTEND(readability-identifier-naming)

}  // namespace dodeca::gpu::emulation
