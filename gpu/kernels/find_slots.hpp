// find_slots: where the chosen experts lie among those that a device holds. A table says in which slot of its layer an
// expert is; slots and terms are as multiply (slices) and add_weighted_rows (indices) read them.
//
// Per choice: 8 bytes read, 8 written, no arithmetic.
#pragma once

#include <cstdint>

#include "gpu/kernels/grid.hpp"

namespace dodeca::gpu {

struct FindSlotsArgs {
  const std::int32_t* ids;      // [n] experts
  const std::int32_t* slot_of;  // [experts] slot of an expert, negative: it has none
  std::int32_t* slots;          // [n] slot_of[ids[i]]
  std::int32_t* terms;          // [n] i, or -1 where there is no slot
  std::int32_t n;
};

inline constexpr std::uint32_t kFindSlotsThreads = 64;

inline Grid find_slots_grid(const FindSlotsArgs& args) {
  return {.blocks_x = (static_cast<std::uint32_t>(args.n) + kFindSlotsThreads - 1) / kFindSlotsThreads,
          .threads = kFindSlotsThreads};
}
inline std::uint64_t find_slots_bytes(const FindSlotsArgs& args) { return 16 * static_cast<std::uint64_t>(args.n); }

}  // namespace dodeca::gpu
