// A real card: Device on the CUDA runtime.
#pragma once

#include <memory>

#include "gpu/device.hpp"

namespace dodeca::gpu::cuda {

// Without a context on the card: free_bytes is zero.
DeviceInfo info_of(int number);
std::unique_ptr<Device> open(int number, const DeviceOptions& options);

}  // namespace dodeca::gpu::cuda
