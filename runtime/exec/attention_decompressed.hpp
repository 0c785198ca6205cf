// Attention of prompt rows in decompressed form: per head, keys and values are made from the latent rows chunk by
// chunk, and the head's rows attend to them. 40 960 products per row and position of DeepSeek-V3 instead of 139 264,
// plus 16.8 million per position and pass. Reads the rotated kQuery, writes kHeads.
#pragma once

#include "runtime/exec/mla_attention.hpp"

namespace dodeca::runtime::exec {

// Bytes of work space per thread.
std::size_t decompressed_scratch_bytes(const ModelConfig& config, std::int64_t micro_batch);

// No barrier inside; member.barrier() before and after. `units` deals those of the member's parts.
void attend_decompressed(const Pass& pass, const cpu::Member& member, const LatentAttention& attention,
                         cpu::CrewCounters& units) noexcept;

}  // namespace dodeca::runtime::exec
