// The buffers of a device's part of the forward pass: counted before anything is loaded, and allocated by the same list.
// Rows are those of exec::RowBuffer, in the same formats; M is the device's rows per pass.
#pragma once

#include "runtime/exec/workspace.hpp"

namespace dodeca::runtime::device {

// Of the rows of a pass whose logits are wanted, as many at a time.
inline constexpr std::int64_t kLogitRows = 8;
// Context chunks of a row at most, each with a partial result that is merged.
inline constexpr std::int64_t kMostChunks = 64;
// Rows of which the context is cut into chunks at the same time; a longer pass takes them in turn.
inline constexpr std::int64_t kCutRows = 8;

// The tiles in which a weight lies on a device: those of the processors; decoded to float32 on the reference route, which
// keeps rows in file form; null: the device has no product with the type, or it is no matrix.
const quant::Layout* device_layout(const WeightPlan& weight);
std::uint64_t device_weight_bytes(const WeightPlan& weight);  // vectors as floats

// What the blocks of a plan whose place is the device demand there.
exec::Demand device_demand(const Plan& plan, const exec::RunSizes& sizes);

}  // namespace dodeca::runtime::device
