// Attention in the latent space: every head's absorbed query against the cache rows themselves. Reads kAbsorbedQuery,
// writes kLatent.
#pragma once

#include "runtime/exec/mla_attention.hpp"

namespace dodeca::runtime {

// Bytes of work space per thread.
std::size_t absorbed_scratch_bytes(const ModelConfig& config);

// Room for the results of context chunks.
void demand_partials(const ModelConfig& config, const RunSizes& sizes, Demand& demand);

// `next` deals the units. Leaves results in parts where the context was cut.
void attend_absorbed(const Pass& pass, const cpu::Member& member, const LatentAttention& attention,
                     cpu::WorkCounter& next) noexcept;
// Behind a barrier: row i's result of a head, [latent], merged in the member's own work space where the context was cut,
// and then left in kLatent too if `keep`, which one member at most may ask for.
const float* absorbed_result(const Pass& pass, const cpu::Member& member, std::int64_t head, std::int64_t i,
                             bool keep) noexcept;

}  // namespace dodeca::runtime
