// Real cards: implemented by gpu/cuda, or by gpu/none where the program is built without CUDA.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gpu/device.hpp"

namespace dodeca::gpu {

std::vector<DeviceInfo> cards();
// One sentence without a full stop; empty where there is a card.
std::string why_no_cards();
// "CUDA 13.0, sm_80 sm_90"; "none".
std::string card_kernels();
std::unique_ptr<Device> open_card(int number, const DeviceOptions& options);

}  // namespace dodeca::gpu
