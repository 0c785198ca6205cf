// The blocks of an executor of which some run on a device, in their order.
#pragma once

#include "runtime/device/device_state.hpp"
#include "runtime/exec/block.hpp"

namespace dodeca::runtime::device {

// Everything but `ranges` outlives the blocks.
std::vector<std::unique_ptr<exec::Block>> build_blocks(DeviceState& state, const Model& model, exec::Workspace& host,
                                                       DeviceState::Ranges ranges);

}  // namespace dodeca::runtime::device
