// How a kernel is launched.
#pragma once

#include <cstdint>

namespace dodeca::gpu {

// Threads are numbered in x alone.
struct Grid {
  std::uint32_t blocks_x = 1;
  std::uint32_t blocks_y = 1;
  std::uint32_t blocks_z = 1;
  std::uint32_t threads = 32;      // of a block, at most what the kernel declares
  std::uint32_t shared_bytes = 0;  // of dynamic shared memory
};

}  // namespace dodeca::gpu
