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
// Of one block; only_routed: of the chosen experts alone.
TimeSplit prompt_block_time(const Plan& plan, const MachineSpec& machine, const PromptRequest& request,
                            const BlockPlan& block, bool only_routed = false);

}  // namespace dodeca::runtime::predict
