#include "runtime/weights/packed_matrix.hpp"

#include "quant/codec.hpp"

namespace dodeca::runtime {

void PackedMatrix::decode_row(std::int64_t index, std::int64_t row, std::byte* scratch, float* out) const noexcept {
  const std::byte* tile = slice(index) + static_cast<std::size_t>(row / cpu::kTileRows) * tile_bytes;
  if (reference) {
    const std::size_t row_bytes = tile_bytes / cpu::kTileRows;
    quant::decode_row(dtype, tile + static_cast<std::size_t>(row % cpu::kTileRows) * row_bytes, out, n_in);
    return;
  }
  std::byte* rows[cpu::kTileRows] = {};
  rows[row % cpu::kTileRows] = scratch;
  layout->unpack(tile, n_in, rows);
  quant::decode_row(dtype, scratch, out, n_in);
}

}  // namespace dodeca::runtime
