// How long a step of generated rows takes where a card has a part of the model.
#pragma once

#include <cstdint>

#include "runtime/predict/token_time.hpp"

namespace dodeca::runtime::predict {

// `plan`: in one part, with all blocks on the processors. `placed`: the same plan behind device::place_blocks();
// card_cache: of a position in a layer there, in bytes.
StepTime step_time_with_card(const Plan& plan, const Plan& placed, const MachineSpec& machine, const CardSpec& card,
                             std::uint64_t card_cache, const StepRequest& request);

}  // namespace dodeca::runtime::predict
