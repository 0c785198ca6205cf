#include "runtime/weights/packed_matrix.hpp"

#include <algorithm>
#include <iterator>

#include "quant/codec.hpp"

namespace dodeca::runtime {

namespace {

PackedMatrix unplaced(const WeightPlan& weight, std::int64_t part_index, std::int64_t column_begin, std::int64_t n_in) {
  const WeightPart& part = weight.parts[static_cast<std::size_t>(part_index)];
  PackedMatrix m{.layout = weight.layout,
                 .gemv = weight.gemv,
                 .gemm = weight.gemm,
                 .gemm_min_rows = weight.gemm_min_rows,
                 .prompt = weight.prompt,
                 .n_in = n_in,
                 .n_out = part.rows.size(),
                 .n_slices = static_cast<std::int64_t>(part.slices.size()),
                 .row_begin = part.rows.begin,
                 .part = part_index,
                 .column_begin = column_begin,
                 .reference = weight.storage == Storage::kReference,
                 .dtype = weight.dtype};
  if (!m) return m;  // no tiles to deal
  m.n_tiles = (m.n_out + cpu::kTileRows - 1) / cpu::kTileRows;
  m.tile_bytes = m.reference ? cpu::kTileRows * *quant::row_bytes(weight.dtype, m.n_in) : m.layout->tile_bytes(m.n_in);
  return m;
}

}  // namespace

std::vector<PackedMatrix> unplaced(const WeightPlan& weight) {
  std::vector<PackedMatrix> matrices;
  const std::int64_t columns = weight.stored_columns();
  for (std::int64_t p = 0; p < std::ssize(weight.parts); ++p) {
    const std::int64_t width = weight.parts[static_cast<std::size_t>(p)].columns.size();
    std::int64_t begin = 0;
    do {
      matrices.push_back(unplaced(weight, p, begin, std::min(columns, width - begin)));
      begin += columns;
    } while (begin < width);
  }
  return matrices;
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
