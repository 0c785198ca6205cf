// Attention of generated rows over the cached keys and values of their heads, and of every row where attention computes
// in float32. Reads the rotated kQuery, writes kHeads. Lanes are rows of a RowGroup times query heads of a head.
#pragma once

#include "runtime/exec/grouped_heads.hpp"

namespace dodeca::runtime::exec {

// Bytes of work space per thread.
std::size_t grouped_scratch_bytes(const ModelConfig& config);
// Room for the results of context chunks.
void demand_grouped_partials(const ModelConfig& config, const RunSizes& sizes, Demand& demand);

// Few rows: the chunks of the context of all groups of rows for the heads of each part, and loads whose tiles are heads
// over one chunk. Results stay in chunks, until merge_grouped() puts them together.
struct GroupedChunks {
  std::vector<ContextChunk> chunks;  // first_strip: the part's first head
  std::vector<TileLoad> loads;
  std::vector<std::int64_t> first_partial;  // [rows] index of a row's first chunk among all
  void list(const Pass& pass, const GroupedHeads& heads);
};
void attend_grouped_chunk(const Pass& pass, const cpu::Member& member, const GroupedHeads& heads,
                          const GroupedChunks& list, std::size_t chunk, const cpu::Range& tiles) noexcept;
// Behind a barrier: columns [begin, end) of a part's results of every row, merged from their chunks.
void merge_grouped(const Pass& pass, const cpu::Member& member, const GroupedHeads& heads, const GroupedChunks& list,
                   std::size_t part, const cpu::Range& columns) noexcept;

// Many rows: `units` deals groups of rows times heads of the member's parts.
void attend_grouped(const Pass& pass, const cpu::Member& member, const GroupedHeads& heads,
                    cpu::CrewCounters& units) noexcept;

}  // namespace dodeca::runtime::exec
