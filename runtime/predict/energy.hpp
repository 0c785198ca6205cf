// What a machine draws while it works, estimated from its data sheets, and so the energy of a token. Nothing measured.
#pragma once

#include <optional>

#include "runtime/predict/machine_spec.hpp"

namespace dodeca::runtime::predict {

// As if every part drew all the time what it is made for. Fans, disks, voltage regulators and the power supply's losses
// come on top; processors that wait for memory, and a card that waits for them, draw less.
struct PowerEstimate {
  double sockets = 0, memory = 0, card = 0;  // watts
  double sum() const { return sockets + memory + card; }
  double joules(double tokens_per_s) const { return sum() / tokens_per_s; }  // of a token
};

// None where a figure that it needs is not known. card: null where there is none.
std::optional<PowerEstimate> power_of(const MachineSpec& machine, const CardSpec* card);

}  // namespace dodeca::runtime::predict
