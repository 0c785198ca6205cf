// What is known of a type besides its line in quant/types.inc: Format<T>, one specialisation per decodable type in the
// header of its family.
//
//   Block                  exactly as stored; blocks in a file have no alignment to speak of: copy them out before use.
//                          f16 fields are raw bits (float_types.hpp reads them)
//   decode(block, y)       y gets the block's values: the definition of the format. Types with a row prefix take the
//                          row's scale as well; F32, F16 and BF16 take rows
// and for the types that are packed and multiplied as integers (BLOCKS in types.inc):
//   Tile                   where everything lies in a packed tile (quant/layout/tile.hpp)
//   kSub                   columns that share a scale: 16 or 32
//   kMinima                a minimum per sub-block is subtracted: dmin * min
//   kOffset                a block has an offset m
//   kRowPrefix             bytes before a row's blocks: an f32 scale of the row in place of d, or none
//   kUnit                  value = kUnit * d * scale * weight, a power of two
//   read, write            from the file's block; to one, of zeros
//   put_row, get_row       from and to lane r of the body of a tile; get_row sets only what it finds
//   weight(b, k), scale(b, g), factor(b)   what products are made of: small integers, and d
#pragma once

#include <cstddef>
#include <cstdint>

#include "quant/dtype.hpp"
#include "quant/float_types.hpp"
#include "quant/layout/row_block.hpp"
#include "quant/layout/tile.hpp"
#include "quant/layout/tile_codes.hpp"

namespace dodeca::quant {

inline constexpr int kSuperBlock = 256;  // weights per block of the K and IQ types
inline constexpr int kSmallBlock = 32;   // of the legacy types, IQ4_NL and MXFP4
inline constexpr int kFp8Block = 128;    // columns that share a scale in FP8 checkpoints

template <DType T>
struct Format;

// What most of the packed types have alike.
template <class Block_, class Tile_, int kSub_>
struct PackedFormat : Tile_ {
  using Block = Block_;
  using Tile = Tile_;
  static constexpr int kSub = kSub_;
  static constexpr std::size_t kRowPrefix = 0;
  static constexpr bool kMinima = false, kOffset = false;
  static constexpr float kUnit = 1.0f;
  static int weight(const RowBlock& b, int k) { return b.code[k]; }
  static int scale(const RowBlock& b, int g) { return b.scale[g]; }
  static float factor(const RowBlock& b) { return f16_to_f32(b.d); }
};

// One of the sub-blocks is the whole block: no scale besides d.
template <class Block, class Tile>
struct SmallFormat : PackedFormat<Block, Tile, kSmallBlock> {
  static int scale(const RowBlock&, int) { return 1; }
};

}  // namespace dodeca::quant
