#include "runtime/weights/packed_matrix.hpp"

#include "quant/codec.hpp"

namespace dodeca::runtime {

PackedMatrix unplaced(const WeightPlan& plan, const WeightPart& part) {
  PackedMatrix m{.layout = plan.layout,
                 .gemv = plan.gemv,
                 .gemm = plan.gemm,
                 .gemm_min_rows = plan.gemm_min_rows,
                 .prompt = plan.prompt,
                 .n_in = part.columns.size(),
                 .n_out = part.rows.size(),
                 .n_slices = static_cast<std::int64_t>(part.slices.size()),
                 .row_begin = part.rows.begin,
                 .reference = plan.storage == Storage::kReference,
                 .dtype = plan.dtype};
  m.n_tiles = (m.n_out + cpu::kTileRows - 1) / cpu::kTileRows;
  m.tile_bytes = m.reference ? cpu::kTileRows * *quant::row_bytes(plan.dtype, m.n_in) : m.layout->tile_bytes(m.n_in);
  return m;
}

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
