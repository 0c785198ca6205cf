#include "runtime/predict/energy.hpp"

namespace dodeca::runtime::predict {

std::optional<PowerEstimate> power_of(const MachineSpec& machine, const CardSpec* card) {
  if (!machine.tdp_watts.known() || !machine.memory_watts.known()) return std::nullopt;
  if (card != nullptr && !card->tdp_watts.known()) return std::nullopt;
  return PowerEstimate{.sockets = machine.sockets.value * machine.tdp_watts.value,
                       .memory = machine.sockets.value * machine.channels.value * machine.memory_watts.value,
                       .card = card != nullptr ? card->tdp_watts.value : 0};
}

}  // namespace dodeca::runtime::predict
