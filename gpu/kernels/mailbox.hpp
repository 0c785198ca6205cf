// The device's side of flags in pinned memory (gpu/device.hpp): one thread writes a flag, or looks at it until the
// host has written it. Reads over PCIe, one at a time; about one microsecond each.
#pragma once

#include <cstdint>

#include "gpu/kernels/grid.hpp"

namespace dodeca::gpu {

struct SignalFlagArgs {
  std::uint32_t* flag;
  std::uint32_t value;
};
struct AwaitFlagArgs {
  const std::uint32_t* flag;
  const std::uint32_t* give_up;  // not zero: the device is being closed, and nobody waits for results
  std::uint32_t value;           // until the flag has reached it: difference below 2^31
};

inline constexpr Grid kFlagGrid{.threads = 1};

}  // namespace dodeca::gpu
