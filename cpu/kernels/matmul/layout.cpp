// The table of packed layouts.
#include <array>
#include <cstring>
#include <stdexcept>
#include <string>

#include "cpu/kernels/matmul/matmul.hpp"
#include "cpu/kernels/matmul/row_block.hpp"
#include "cpu/kernels/matmul/tiles.hpp"
#include "quant/blocks.hpp"

namespace dodeca::cpu {
namespace {

using quant::DType;

std::size_t round_up_64(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

// ---- block types

template <DType T>
void pack_blocks(const std::byte* const* rows, std::int64_t n_in, std::byte* tile) {
  static const BlockFormat& format = block_format(T);
  RowBlock blocks[kTileRows];
  for (std::int64_t block = 0; block < n_in / format.columns; ++block) {
    for (int r = 0; r < kTileRows; ++r) {
      if (rows[r] != nullptr) {
        format.from_file(rows[r] + block * format.file_bytes, blocks[r]);
      } else {
        blocks[r] = {};
      }
    }
    std::byte* header = tile + format.header(block);
    if (reinterpret_cast<std::uintptr_t>(header) % 64 == 0)
      std::memset(header, 0, 64);  // a group that stays incomplete
    format.to_tile(blocks, header, tile + format.body(block));
  }
}

template <DType T>
void unpack_blocks(const std::byte* tile, std::int64_t n_in, std::byte* const* rows) {
  static const BlockFormat& format = block_format(T);
  RowBlock blocks[kTileRows];
  for (std::int64_t block = 0; block < n_in / format.columns; ++block) {
    format.from_tile(tile + format.header(block), tile + format.body(block), blocks);
    for (int r = 0; r < kTileRows; ++r) {
      if (rows[r] != nullptr) format.to_file(blocks[r], rows[r] + block * format.file_bytes);
    }
  }
}

template <DType T>
Layout block_layout(std::string_view name) {
  const BlockFormat& format = block_format(T);
  return {T,
          name,
          format.columns == 256 ? ActFormat::kQ8_256 : ActFormat::kQ8_32,
          format.tile_bytes,
          pack_blocks<T>,
          unpack_blocks<T>};
}

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
template <DType T, class Word>
Layout column_layout(std::string_view name) {
  return {T, name, ActFormat::kF32, column_tile_bytes<Word>, pack_columns<Word>, unpack_columns<Word>};
}

void pack_f8(const std::byte* const* rows, std::int64_t n_in, std::byte* tile) {
  for (std::int64_t block = 0; block < n_in / quant::kFp8Block; ++block) {
    const std::byte* values[kTileRows];
    for (int r = 0; r < kTileRows; ++r) {
      const std::byte* in =
          rows[r] == nullptr ? nullptr : rows[r] + block * std::int64_t{sizeof(quant::BlockF8_E4M3_B128)};
      std::byte* scale = tile + TileF8::header(block) + 4 * r;
      if (in != nullptr) {
        std::memcpy(scale, in, 4);
        values[r] = in + 4;
      } else {
        std::memset(scale, 0, 4);
        values[r] = nullptr;
      }
    }
    pack_columns<std::uint8_t>(values, quant::kFp8Block, tile + TileF8::body(block));
  }
}
void unpack_f8(const std::byte* tile, std::int64_t n_in, std::byte* const* rows) {
  for (std::int64_t block = 0; block < n_in / quant::kFp8Block; ++block) {
    std::byte* values[kTileRows];
    for (int r = 0; r < kTileRows; ++r) {
      values[r] = nullptr;
      if (rows[r] == nullptr) continue;
      std::byte* out = rows[r] + block * std::int64_t{sizeof(quant::BlockF8_E4M3_B128)};
      std::memcpy(out, tile + TileF8::header(block) + 4 * r, 4);
      values[r] = out + 4;
    }
    unpack_columns<std::uint8_t>(tile + TileF8::body(block), quant::kFp8Block, values);
  }
}

// ---- raw: file blocks, row after row

template <DType T>
std::size_t raw_row_bytes(std::int64_t n_in) {
  const quant::TypeInfo& info = quant::type_info(T);
  return static_cast<std::size_t>(n_in / info.block_elements * info.block_bytes);
}
template <DType T>
std::size_t raw_tile_bytes(std::int64_t n_in) {
  return round_up_64(kTileRows * raw_row_bytes<T>(n_in));
}
template <DType T>
void pack_raw(const std::byte* const* rows, std::int64_t n_in, std::byte* tile) {
  const std::size_t bytes = raw_row_bytes<T>(n_in);
  std::memset(tile + kTileRows * bytes, 0, raw_tile_bytes<T>(n_in) - kTileRows * bytes);
  for (int r = 0; r < kTileRows; ++r) {
    std::byte* out = tile + static_cast<std::size_t>(r) * bytes;
    if (rows[r] != nullptr) {
      std::memcpy(out, rows[r], bytes);
    } else {
      std::memset(out, 0, bytes);  // every block factor zero
    }
  }
}
template <DType T>
void unpack_raw(const std::byte* tile, std::int64_t n_in, std::byte* const* rows) {
  const std::size_t bytes = raw_row_bytes<T>(n_in);
  for (int r = 0; r < kTileRows; ++r) {
    if (rows[r] != nullptr) std::memcpy(rows[r], tile + static_cast<std::size_t>(r) * bytes, bytes);
  }
}
template <DType T>
Layout raw_layout() {
  return {T, "raw", ActFormat::kF32, raw_tile_bytes<T>, pack_raw<T>, unpack_raw<T>};
}

const auto& table() {
  static const std::array layouts = {
      column_layout<DType::kF32, std::uint32_t>("f32_x16"),
      column_layout<DType::kF16, std::uint16_t>("f16_x16"),
      column_layout<DType::kBF16, std::uint16_t>("bf16_x16"),
      Layout{DType::kF8_E4M3_B128, "f8_e4m3_b128_x16", ActFormat::kF32, TileF8::bytes, pack_f8, unpack_f8},
      block_layout<DType::kQ4_0>("q4_0_x16"),
      block_layout<DType::kQ4_1>("q4_1_x16"),
      block_layout<DType::kQ5_0>("q5_0_x16"),
      block_layout<DType::kQ5_1>("q5_1_x16"),
      block_layout<DType::kQ8_0>("q8_0_x16"),
      block_layout<DType::kIQ4_NL>("iq4_nl_x16"),
      block_layout<DType::kMXFP4>("mxfp4_x16"),
      block_layout<DType::kQ2_K>("q2_k_x16"),
      block_layout<DType::kQ3_K>("q3_k_x16"),
      block_layout<DType::kQ4_K>("q4_k_x16"),
      block_layout<DType::kQ5_K>("q5_k_x16"),
      block_layout<DType::kQ6_K>("q6_k_x16"),
      block_layout<DType::kIQ4_XS>("iq4_xs_x16"),
      raw_layout<DType::kQ8_K>(),
      block_layout<DType::kIQ1_S>("iq1_s_x16"),
      block_layout<DType::kIQ1_M>("iq1_m_x16"),
      block_layout<DType::kIQ2_XXS>("iq2_xxs_x16"),
      block_layout<DType::kIQ2_XS>("iq2_xs_x16"),
      block_layout<DType::kIQ2_S>("iq2_s_x16"),
      block_layout<DType::kIQ3_XXS>("iq3_xxs_x16"),
      block_layout<DType::kIQ3_S>("iq3_s_x16"),
      raw_layout<DType::kTQ1_0>(),
      raw_layout<DType::kTQ2_0>(),
  };
  return layouts;
}

}  // namespace

std::span<const Layout> all_layouts() { return table(); }

std::size_t matmul_scratch_bytes(std::int64_t n_in) {
  return kFixedScratchBytes + round_up_64(static_cast<std::size_t>(n_in) * sizeof(float));
}

const Layout& layout_of(DType dtype) {
  for (const Layout& layout : table()) {
    if (layout.dtype == dtype) return layout;
  }
  throw std::invalid_argument("no packed layout for type " + std::string(quant::name_of(dtype)) +
                              ": it cannot be decoded");
}

}  // namespace dodeca::cpu
