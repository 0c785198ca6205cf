// The GPU side of the program as the runtime sees it: which devices there are. No CUDA types here. Built without a back
// end (gpu/none), there are none, and asking for one is an error with a reason.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dodeca::gpu {

struct DeviceInfo {
  std::string name;
  std::uint64_t memory_bytes = 0;
};

// The back end compiled in: "none".
std::string_view backend_name();
// Devices that the back end can use, in its own order; empty without a back end.
std::vector<DeviceInfo> devices();

}  // namespace dodeca::gpu
