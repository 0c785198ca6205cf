// Attention of prompt rows over the cached keys and values of their heads: a head and some rows are the work of one
// member, and a chunk of the context is loaded once for all their query heads. Reads the rotated kQuery, writes kHeads.
#pragma once

#include "runtime/exec/grouped_heads.hpp"

namespace dodeca::runtime::exec {

// Bytes of work space per thread.
std::size_t grouped_prompt_scratch_bytes(const ModelConfig& config);

// No barrier inside; member.barrier() before and after. `units` deals those of the member's parts.
void attend_grouped_prompt(const Pass& pass, const cpu::Member& member, const GroupedHeads& heads,
                           cpu::CrewCounters& units) noexcept;

}  // namespace dodeca::runtime::exec
