// Tiles of the types of blocks (BLOCKS in quant/types.inc), from and to the file's rows, by their Format.
#pragma once

#include <cstring>

#include "quant/formats/formats.hpp"

namespace dodeca::quant {

template <DType T>
struct BlockTiles {
  using F = Format<T>;
  using Tile = typename F::Tile;
  using Block = typename F::Block;
  static constexpr std::int64_t kPrefix = F::kRowPrefix;

  // The factors of one row in its block's header.
  static void put_factors(const RowBlock& b, int r, std::byte* header) {
    if constexpr (Tile::kGroup == 4) header[r] = static_cast<std::byte>(b.d);
    if constexpr (Tile::kGroup == 1 || Tile::kGroup == 2) std::memcpy(header + 2 * r, &b.d, 2);
    if constexpr (Tile::kGroup == 1) std::memcpy(header + 32 + 2 * r, &b.m, 2);
  }
  static void get_factors(const std::byte* header, int r, RowBlock& b) {
    b.m = 0;
    if constexpr (Tile::kGroup == 4) b.d = static_cast<std::uint8_t>(header[r]);
    if constexpr (Tile::kGroup == 1 || Tile::kGroup == 2) std::memcpy(&b.d, header + 2 * r, 2);
    if constexpr (Tile::kGroup == 1) std::memcpy(&b.m, header + 32 + 2 * r, 2);
    if constexpr (kPrefix == 2) std::memcpy(&b.d, header + kPrefix * r, kPrefix);
    if constexpr (kPrefix == 4) std::memcpy(&b.row_scale, header + kPrefix * r, kPrefix);
  }

  // Block `block` of the 16 rows of a tile.
  static void get(const std::byte* tile, std::int64_t block, RowBlock* blocks) {
    for (int r = 0; r < kTileRows; ++r) {
      get_factors(tile + Tile::header(block), r, blocks[r]);
      F::get_row(tile + Tile::body(block), r, blocks[r]);
    }
  }

  static void pack(const std::byte* const* rows, std::int64_t n_in, std::byte* tile) {
    if constexpr (kPrefix != 0) {
      std::memset(tile, 0, 64);  // rows that are missing
      for (int r = 0; r < kTileRows; ++r) {
        if (rows[r] != nullptr) std::memcpy(tile + r * kPrefix, rows[r], kPrefix);
      }
    }
    RowBlock blocks[kTileRows] = {};  // rows that are missing stay zero
    for (std::int64_t block = 0; block < n_in / Tile::kColumns; ++block) {
      for (int r = 0; r < kTileRows; ++r) {
        if (rows[r] == nullptr) continue;
        Block in;
        std::memcpy(&in, rows[r] + kPrefix + block * std::int64_t{sizeof in}, sizeof in);
        F::read(in, blocks[r]);
      }
      std::byte *header = tile + Tile::header(block), *body = tile + Tile::body(block);
      if (Tile::kGroup != 0 && block % (Tile::kGroup == 0 ? 1 : Tile::kGroup) == 0)
        std::memset(header, 0, 64);  // a group that stays incomplete
      for (int r = 0; r < kTileRows; ++r) {
        put_factors(blocks[r], r, header);
        F::put_row(blocks[r], r, body);
      }
    }
  }

  static void unpack(const std::byte* tile, std::int64_t n_in, std::byte* const* rows) {
    for (int r = 0; r < kTileRows; ++r) {
      if (rows[r] == nullptr) continue;
      if constexpr (kPrefix != 0) std::memcpy(rows[r], tile + r * kPrefix, kPrefix);
      for (std::int64_t block = 0; block < n_in / Tile::kColumns; ++block) {
        RowBlock numbers;
        get_factors(tile + Tile::header(block), r, numbers);
        F::get_row(tile + Tile::body(block), r, numbers);
        Block out{};
        F::write(numbers, out);
        std::memcpy(rows[r] + kPrefix + block * std::int64_t{sizeof out}, &out, sizeof out);
      }
    }
  }
};

}  // namespace dodeca::quant
