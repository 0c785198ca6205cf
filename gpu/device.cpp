#include "gpu/device.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <stdexcept>

#include "gpu/cards.hpp"
#include "gpu/emulation/emulation.hpp"

namespace dodeca::gpu {

void Device::count_memory(std::size_t bytes, std::string_view device) {
  if (bytes > memory_limit_ || memory_used_ > memory_limit_ - bytes)
    throw std::runtime_error(std::string(device) + " may give out " + std::to_string(memory_limit_) +
                             " bytes, of which " + std::to_string(memory_used_) +
                             " are taken: " + std::to_string(bytes) + " more are too many");
  memory_used_ += bytes;
}

std::vector<DeviceInfo> devices() { return cards(); }
std::string why_no_devices() { return why_no_cards(); }
std::string backend_name() { return card_kernels(); }

std::unique_ptr<Device> open_device(std::string_view name, const DeviceOptions& options) {
  if (name == "emulation") {
    emulation::EmulationOptions emulated;
    emulated.memory_limit = std::min(emulated.memory_limit, options.memory_limit);
    if (const char* at = std::getenv("DODECA_EMULATION_LOST_AT"))
      emulated.lost_at = std::strtoull(at, nullptr, 10);  // for tests
    return emulation::open_emulation(emulated);
  }
  int number = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number < 0)
    throw std::runtime_error("\"" + std::string(name) +
                             "\" is no device: a device is a card's number or \"emulation\"");
  return open_card(number, options);
}

}  // namespace dodeca::gpu
