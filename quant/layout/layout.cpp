#include "quant/layout/layout.hpp"

#include <array>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "quant/layout/block_tiles.hpp"

namespace dodeca::quant {
namespace {

std::size_t round_up_64(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// ---- floats, column-major

// Transposes in squares of 16 columns so that both sides stay in cache lines.
template <class Word>
void pack_columns(const std::byte* const* rows, std::int64_t n_in, std::byte* tile) {
  auto* out = reinterpret_cast<Word*>(tile);
  for (std::int64_t begin = 0; begin < n_in; begin += 16) {
    const std::int64_t n = n_in - begin < 16 ? n_in - begin : 16;
    Word square[kTileRows][16] = {};
    for (int r = 0; r < kTileRows; ++r) {
      if (rows[r] != nullptr) {
        std::memcpy(square[r], rows[r] + static_cast<std::size_t>(begin) * sizeof(Word),
                    static_cast<std::size_t>(n) * sizeof(Word));
      }
    }
    for (std::int64_t k = 0; k < n; ++k) {
      for (int r = 0; r < kTileRows; ++r) out[(begin + k) * kTileRows + r] = square[r][k];
    }
  }
  const std::size_t bytes = static_cast<std::size_t>(n_in) * kTileRows * sizeof(Word);
  std::memset(tile + bytes, 0, round_up_64(bytes) - bytes);
}
template <class Word>
void unpack_columns(const std::byte* tile, std::int64_t n_in, std::byte* const* rows) {
  const auto* in = reinterpret_cast<const Word*>(tile);
  for (int r = 0; r < kTileRows; ++r) {
    if (rows[r] == nullptr) continue;
    for (std::int64_t k = 0; k < n_in; ++k) {
      std::memcpy(rows[r] + static_cast<std::size_t>(k) * sizeof(Word), in + k * kTileRows + r, sizeof(Word));
    }
  }
}
template <class Word>
std::size_t column_tile_bytes(std::int64_t n_in) {
  return round_up_64(static_cast<std::size_t>(n_in) * kTileRows * sizeof(Word));
}

void pack_f8(const std::byte* const* rows, std::int64_t n_in, std::byte* tile) {
  for (std::int64_t block = 0; block < n_in / kFp8Block; ++block) {
    const std::byte* values[kTileRows];
    for (int r = 0; r < kTileRows; ++r) {
      const std::byte* in = rows[r] == nullptr ? nullptr : rows[r] + block * std::int64_t{sizeof(BlockF8_E4M3_B128)};
      std::byte* scale = tile + TileF8::header(block) + 4 * r;
      if (in != nullptr) {
        std::memcpy(scale, in, 4);
        values[r] = in + 4;
      } else {
        std::memset(scale, 0, 4);
        values[r] = nullptr;
      }
    }
    pack_columns<std::uint8_t>(values, kFp8Block, tile + TileF8::body(block));
  }
}
void unpack_f8(const std::byte* tile, std::int64_t n_in, std::byte* const* rows) {
  for (std::int64_t block = 0; block < n_in / kFp8Block; ++block) {
    std::byte* values[kTileRows];
    for (int r = 0; r < kTileRows; ++r) {
      values[r] = nullptr;
      if (rows[r] == nullptr) continue;
      std::byte* out = rows[r] + block * std::int64_t{sizeof(BlockF8_E4M3_B128)};
      std::memcpy(out, tile + TileF8::header(block) + 4 * r, 4);
      values[r] = out + 4;
    }
    unpack_columns<std::uint8_t>(tile + TileF8::body(block), kFp8Block, values);
  }
}

// ---- rows as in the file

template <DType T>
struct Rows {
  static std::size_t row_bytes(std::int64_t n_in) { return *quant::row_bytes(T, n_in); }
  static std::size_t tile_bytes(std::int64_t n_in) { return round_up_64(kTileRows * row_bytes(n_in)); }
  static void pack(const std::byte* const* rows, std::int64_t n_in, std::byte* tile) {
    const std::size_t bytes = row_bytes(n_in);
    std::memset(tile + kTileRows * bytes, 0, tile_bytes(n_in) - kTileRows * bytes);
    for (int r = 0; r < kTileRows; ++r) {
      std::byte* out = tile + static_cast<std::size_t>(r) * bytes;
      if (rows[r] != nullptr) {
        std::memcpy(out, rows[r], bytes);
      } else {
        std::memset(out, 0, bytes);  // every block factor zero
      }
    }
  }
  static void unpack(const std::byte* tile, std::int64_t n_in, std::byte* const* rows) {
    const std::size_t bytes = row_bytes(n_in);
    for (int r = 0; r < kTileRows; ++r) {
      if (rows[r] != nullptr) std::memcpy(rows[r], tile + static_cast<std::size_t>(r) * bytes, bytes);
    }
  }
};

// ---- the table

template <DType T>
Layout rows_layout(std::string_view name) {
  return {T, LayoutKind::kRows, name, ActFormat::kF32, Rows<T>::tile_bytes, Rows<T>::pack, Rows<T>::unpack};
}

template <DType T>
Layout block_layout(std::string_view name) {
  using Tiles = BlockTiles<T>;
  constexpr ActFormat kAct = Tiles::Tile::kColumns == 256 ? ActFormat::kQ8_256 : ActFormat::kQ8_32;
  return {T, LayoutKind::kTiles16, name, kAct, Tiles::Tile::bytes, Tiles::pack, Tiles::unpack};
}

template <DType T>
Layout float_layout(std::string_view name) {
  constexpr auto kKind = LayoutKind::kTiles16;
  constexpr auto kAct = ActFormat::kF32;
  if constexpr (T == DType::kF8_E4M3_B128) {
    return {T, kKind, name, kAct, TileF8::bytes, pack_f8, unpack_f8};
  } else {
    using Word = std::conditional_t<T == DType::kF32, std::uint32_t, std::uint16_t>;
    return {T, kKind, name, kAct, column_tile_bytes<Word>, pack_columns<Word>, unpack_columns<Word>};
  }
}

// Every type's own layout before that of its rows.
const auto& table() {
  static const std::array layouts = {
#define BLOCKS(name, lower, ...) block_layout<DType::k##name>(#lower "_x16"),
#define FLOATS(name, lower, ...) float_layout<DType::k##name>(#lower "_x16"),
#include "quant/types.inc"
#define TYPE(name, lower, ...) rows_layout<DType::k##name>(#lower "_rows"),
#define OPAQUE(...)
#include "quant/types.inc"
  };
  return layouts;
}

}  // namespace

std::span<const Layout> all_layouts() { return table(); }

const Layout* find_layout(DType dtype, LayoutKind kind) {
  for (const Layout& layout : table()) {
    if (layout.dtype == dtype && layout.kind == kind) return &layout;
  }
  return nullptr;
}

const Layout& layout_of(DType dtype) {
  for (const LayoutKind kind : {LayoutKind::kTiles16, LayoutKind::kRows}) {
    if (const Layout* layout = find_layout(dtype, kind)) return *layout;
  }
  throw std::invalid_argument("no packed layout for type " + std::string(name_of(dtype)) + ": it cannot be decoded");
}

}  // namespace dodeca::quant
