// Attention of prompt rows in decompressed form: per head, keys and values are made from the latent rows chunk by
// chunk, and the head's rows attend to them. 40 960 products per row and position of DeepSeek-V3 instead of 139 264,
// plus 16.8 million per position and pass. Reads the rotated kQuery, writes kHeads.
#pragma once

#include "runtime/exec/mla_attention.hpp"

namespace dodeca::runtime::exec {

// Sparse prompt rows at positions below this take this form too, with the positions that they did not choose masked
// out: making keys and values for all of them costs less than loading each row's own choice. Beyond, they take the
// absorbed form.
std::int64_t masked_positions(const ModelConfig& config);
void demand_masks(const ModelConfig& config, const RunSizes& sizes, Demand& demand);
// Behind a barrier after the choice, and before the one that ends the phase: marks what the rows chose.
void mark_chosen(const Pass& pass, const cpu::Member& member, const LatentAttention& attention) noexcept;

// Bytes of work space per thread.
std::size_t decompressed_scratch_bytes(const ModelConfig& config, std::int64_t micro_batch);

// No barrier inside; member.barrier() before and after. `units` deals those of the member's parts.
void attend_decompressed(const Pass& pass, const cpu::Member& member, const LatentAttention& attention,
                         cpu::CrewCounters& units) noexcept;

}  // namespace dodeca::runtime::exec
