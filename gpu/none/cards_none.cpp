#include <stdexcept>

#include "gpu/cards.hpp"

namespace dodeca::gpu {

std::vector<DeviceInfo> cards() { return {}; }
std::string why_no_cards() { return "this program was built without CUDA"; }
std::string card_kernels() { return "none"; }
std::unique_ptr<Device> open_card(int, const DeviceOptions&) { throw std::runtime_error(why_no_cards()); }

}  // namespace dodeca::gpu
