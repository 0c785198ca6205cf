// Attention in the latent space: every head's absorbed query against the cache rows themselves. Reads `q_absorbed`,
// writes `latent`.
#pragma once

#include "runtime/exec/pass.hpp"

namespace dodeca::runtime {

// Bytes of work space per thread.
std::size_t absorbed_scratch_bytes(const ModelConfig& config);

// Leaves results in parts where the context was cut; after a barrier, merge_absorbed completes a head's rows [begin,
// end).
void attend_absorbed(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept;
void merge_absorbed(const Pass& pass, const cpu::Member& member, std::int64_t head, std::int64_t begin,
                    std::int64_t end) noexcept;

}  // namespace dodeca::runtime
