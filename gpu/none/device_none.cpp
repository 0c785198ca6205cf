#include "gpu/device.hpp"

namespace dodeca::gpu {

std::string_view backend_name() { return "none"; }
std::vector<DeviceInfo> devices() { return {}; }

}  // namespace dodeca::gpu
