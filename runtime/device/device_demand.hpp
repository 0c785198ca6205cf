// The buffers of a device's part of the forward pass: counted before anything is loaded, and allocated by the same list.
// Rows are those of exec::RowBuffer, in the formats in which weights read them; M is the device's rows per pass.
#pragma once

#include <array>
#include <cstdint>

#include "runtime/exec/workspace.hpp"

namespace dodeca::runtime::device {

// Everything on a device begins at a multiple of it.
inline constexpr std::uint64_t kDeviceAlignment = 256;
inline std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + kDeviceAlignment - 1) / kDeviceAlignment * kDeviceAlignment;
}

// Rows that attention and dense feed-forward blocks take at a time, whatever a pass has: their work space is many times as
// wide as the rows.
inline constexpr std::int64_t kRowsAtOnce = 256;
struct RowRange {
  std::int64_t first = 0, n = 0;
};
template <class F>
void for_row_ranges(const RowRange& rows, F&& f, std::int64_t at_once = kRowsAtOnce) {
  for (std::int64_t i = 0; i < rows.n; i += at_once)
    f(RowRange{rows.first + i, rows.n - i < at_once ? rows.n - i : at_once});
}
// Rows whose logits are computed together.
inline constexpr std::int64_t kLogitRows = 8;
// Context chunks of a row at most, each with partial results that are merged, and rows that are cut at the same time. A
// context of few blocks has no more chunks than blocks.
inline constexpr std::int64_t kMostChunks = 64;
inline constexpr std::int64_t kCutRows = 8;

enum class DeviceArray {
  kPositions,      // int32 [M]
  kSequences,      // int32 [M]
  kBlockTable,     // int32 [sequences, blocks] of the cache
  kInvFreq,        // double [rope / 2]
  kCosSin,         // float [M, rope]
  kHalfQueries,    // 16 bit [M, heads, nope + rope] of prompts whose context is decompressed, then their results
  kHalfCache,      // 16 bit [positions, latent + rope] of one sequence
  kHalfKeys,       // 16 bit [positions, some heads, nope + value]
  kPartials,       // float [cut rows, chunks, heads, 2 + latent]
  kExpertIds,      // int32 [M, used]
  kExpertWeights,  // float [M, used]
  kSlotRows,       // int32 [few rows * used] row of a slot: slot / used
  kSlotBegin,      // int32 [few rows * used + 1] 0, 1, 2, ...
  kGroupRows,      // int32 [expert rows at once * used] row of a slot, by expert (gpu/kernels/group_pairs.hpp)
  kGroupBegin,     // int32 [experts + 1] where an expert's slots begin
  kGroupSlots,     // int32 [expert rows at once * used] slots of the pairs
  kHotSlots,       // int32 [few rows, used] where chosen experts lie, and which terms there are
  kHotTerms,       //   (gpu/kernels/find_slots.hpp)
  kStreamRows,     // int32 [M * used] of the slots of streamed experts, wave after wave: the row
  kStreamBegin,  // int32 [2 * experts] of the experts of one launch, where their slots begin in it, and where they end
  kStreamTerms,  // int32 [M, used] the slots of a row's experts, -1: on the processors
  kLogits,       // float [logit rows, vocabulary]
  kSplitSums,    // float, of products that are split over blocks
  kCounters,     // uint32, zero between launches
  kCount
};

class DeviceDemand {
 public:
  struct Rows {
    std::int64_t n_rows = 0, width = 0;
    exec::ActFormats formats = {};
  };
  void rows(exec::RowBuffer buffer, std::int64_t n_rows, std::int64_t width);
  void read_in(exec::RowBuffer buffer, quant::ActFormat format);
  void array(DeviceArray array, std::int64_t n, std::size_t element_bytes);

  const Rows& of(exec::RowBuffer buffer) const { return rows_[static_cast<std::size_t>(buffer)]; }
  std::uint64_t of(DeviceArray array) const { return arrays_[static_cast<std::size_t>(array)]; }
  std::uint64_t bytes() const;  // as DeviceSpace allocates them

 private:
  std::array<Rows, static_cast<std::size_t>(exec::RowBuffer::kCount)> rows_ = {};
  std::array<std::uint64_t, static_cast<std::size_t>(DeviceArray::kCount)> arrays_ = {};
};

// The tiles in which a weight lies on a device: those of the processors; decoded to float32 on the reference route, which
// keeps rows in file form; null: the device has no product with the type, or it is no matrix.
const quant::Layout* device_layout(const WeightPlan& weight);
std::uint64_t device_weight_bytes(const WeightPlan& weight);  // vectors as floats; aligned

// Rows that experts on the device take at a time, whose weights are read again for each: as many as a launch has blocks for.
std::int64_t expert_rows_at_once(const ModelConfig& config);
// Of a layer whose prompts decompress: k_b and v_b as 16-bit floats [heads, nope + value, latent].
std::uint64_t decompression_bytes(const ModelConfig& config);
// Heads whose keys and values of so many positions are made at once.
std::int64_t decompressed_heads(const ModelConfig& config, std::int64_t n_positions);

// What the blocks of a plan whose place is the device demand there.
DeviceDemand device_demand(const Plan& plan, const exec::RunSizes& sizes, std::int32_t multiprocessors);

}  // namespace dodeca::runtime::device
