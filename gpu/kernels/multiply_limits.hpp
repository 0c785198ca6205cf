// Limits that the kernels and the host's side of products share.
#pragma once

#include <cstdint>

namespace dodeca::gpu {

// Warps of a block, at most. Four and eight columns take so many registers that blocks of four warps fill a multiprocessor
// better.
constexpr std::int32_t multiply_warps(std::int32_t columns) { return columns < 4 ? 8 : 4; }
inline constexpr std::uint32_t kMultiplyThreads = 256;
// Pieces of columns that one block of a product of floats keeps the sums of.
inline constexpr std::int32_t kBlockPieces = 64;

// Products of many rows: the rows and the tiles of 16 weights of one block, which has a warp for each tile.
inline constexpr std::int32_t kManyRows = 64, kManyTiles = 4;
// From so many rows on; fewer leave most of a block's products unused.
inline constexpr std::int32_t kLeastManyRows = 17;

}  // namespace dodeca::gpu
