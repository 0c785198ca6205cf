// Attention in the latent space: every head's absorbed query against the cache rows themselves. Reads kAbsorbedQuery,
// writes kLatent.
#pragma once

#include "runtime/exec/mla_attention.hpp"

namespace dodeca::runtime::exec {

// Bytes of work space per thread.
std::size_t absorbed_scratch_bytes(const ModelConfig& config);

// Room for packed queries and for the results of context chunks.
void demand_partials(const ModelConfig& config, const RunSizes& sizes, Demand& demand);

// Few rows: the chunks of the context of all groups of rows for the heads of each part, and loads whose tiles are groups
// of kStripLanes heads over one chunk. Results stay in chunks, which absorbed_result() merges.
void list_chunks(const Pass& pass, const LatentAttention& attention, std::vector<ContextChunk>& chunks,
                 std::vector<TileLoad>& loads);
// `strip` of the heads' queries of every row, when they are complete, as the chunks' products read them.
void pack_strip(const Pass& pass, std::int64_t layer, std::int64_t strip) noexcept;
void attend_chunk(const Pass& pass, const cpu::Member& member, const LatentAttention& attention,
                  const ContextChunk& chunk, const cpu::Range& strips) noexcept;

// Many rows: `units` deals groups of rows times heads of the member's parts.
void attend_absorbed(const Pass& pass, const cpu::Member& member, const LatentAttention& attention,
                     cpu::CrewCounters& units) noexcept;
// Behind a barrier: row i's result of a head, [latent], merged in the member's own work space where the context was cut,
// and then left in kLatent too if `keep`, which one member at most may ask for.
const float* absorbed_result(const Pass& pass, const cpu::Member& member, std::int64_t head, std::int64_t i,
                             bool keep) noexcept;

}  // namespace dodeca::runtime::exec
