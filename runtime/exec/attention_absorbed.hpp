// Attention in the latent space: every head's absorbed query against the cache rows themselves. Reads kAbsorbedQuery,
// writes kLatent.
#pragma once

#include "runtime/exec/mla_attention.hpp"

namespace dodeca::runtime {

// Bytes of work space per thread.
std::size_t absorbed_scratch_bytes(const ModelConfig& config);

// Room for the results of context chunks.
void demand_partials(const ModelConfig& config, const RunSizes& sizes, Demand& demand);

// `next` deals the units. Leaves results in parts where the context was cut; after a barrier, merge_absorbed completes a head's rows [begin,
// end).
void attend_absorbed(const Pass& pass, const cpu::Member& member, const LatentAttention& attention,
                     cpu::WorkCounter& next) noexcept;
void merge_absorbed(const Pass& pass, const cpu::Member& member, std::int64_t head, std::int64_t begin,
                    std::int64_t end) noexcept;

}  // namespace dodeca::runtime
