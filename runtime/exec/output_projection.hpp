// The projection that ends an attention block: from the heads' results to kOutput, part after part of the heads.
#pragma once

#include "runtime/exec/block.hpp"

namespace dodeca::runtime {

void demand_output_projection(const BlockPlan& block, const RunSizes& sizes, Demand& demand);

// Row i's results in the formats that the parts of the projection read.
void quantize_heads(const Pass& pass, std::span<const PackedMatrix> output, std::int64_t i) noexcept;

// The member's columns of kOutput = projection of kHeads, parts added in their order, plus the bias (or empty).
void project_heads(const Pass& pass, const cpu::Member& member, std::span<const PackedMatrix> output,
                   std::span<const float> bias) noexcept;

}  // namespace dodeca::runtime
