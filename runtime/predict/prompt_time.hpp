// How long a micro-batch of a prompt takes: products of many rows, attention in decompressed form, one pass over the
// weights.
#pragma once

#include <cstdint>
#include <optional>

#include "runtime/plan/plan.hpp"
#include "runtime/predict/machine_spec.hpp"
#include "runtime/predict/time_split.hpp"

namespace dodeca::runtime::predict {

struct PromptRequest {
  int n_threads = 1;
  std::int64_t n_rows = 2048;  // of the micro-batch
  std::int64_t depth = 0;      // cached positions before it
  quant::DType cache_type = quant::DType::kF16;
  std::optional<quant::DType> value_cache_type = {};  // of grouped queries; nothing: as the keys
};

TimeSplit prompt_time(const Plan& plan, const MachineSpec& machine, const PromptRequest& request);
// Prompts take the way of generated rows beside a card, in passes of n_rows.
TimeSplit prompt_time_with_card(const Plan& plan, const Plan& placed, const MachineSpec& machine, const CardSpec& card,
                                const PromptRequest& request);

}  // namespace dodeca::runtime::predict
