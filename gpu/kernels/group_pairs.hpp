// group_pairs: (row, expert) pairs sorted by expert, so that an expert's rows are multiplied together: which row each slot
// has, where an expert's slots begin, and which slot a pair has. Slots of an expert have its rows in ascending order.
//
// One block. Per pair: 4 bytes read for every 32 experts or so, from the L1, and 8 written; no arithmetic.
#pragma once

#include <cstdint>

#include "gpu/kernels/grid.hpp"

namespace dodeca::gpu {

inline constexpr std::int32_t kMostGroupedExperts = 1024;

struct GroupPairsArgs {
  const std::int32_t* ids;  // [n_pairs] experts; pair p is of row p / n_used
  std::int32_t* rows;       // [n_pairs] of the slots
  std::int32_t* begin;      // [n_experts + 1] the first slot of an expert; the last: n_pairs
  std::int32_t* slots;      // [n_pairs] of the pairs
  std::int32_t n_pairs, n_used;
  std::int32_t n_experts;  // at most kMostGroupedExperts
};

inline constexpr std::uint32_t kGroupPairsThreads = 1024;

inline Grid group_pairs_grid(const GroupPairsArgs&) { return {.threads = kGroupPairsThreads}; }

}  // namespace dodeca::gpu
