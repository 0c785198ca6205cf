#include "runtime/exec/pieced_projection.hpp"

#include <algorithm>

#include "runtime/exec/ffn_products.hpp"

namespace dodeca::runtime::exec {

std::vector<std::span<const PackedMatrix>> by_part(std::span<const PackedMatrix> pieces) {
  std::vector<std::span<const PackedMatrix>> parts;
  for (std::size_t begin = 0, end = 0; begin < pieces.size(); begin = end) {
    while (end < pieces.size() && pieces[end].part == pieces[begin].part) ++end;
    parts.push_back(pieces.subspan(begin, end - begin));
  }
  return parts;
}

std::int64_t n_in_of(std::span<const PackedMatrix> pieces) {
  return pieces.empty() ? 0 : pieces.back().column_begin + pieces.back().n_in;
}

std::uint64_t tile_bytes_of(std::span<const PackedMatrix> pieces) {
  std::uint64_t bytes = 0;
  for (const PackedMatrix& piece : pieces) bytes += piece.tile_bytes;
  return bytes;
}

void multiply_pieces(std::span<const PackedMatrix> pieces, const Product& product) noexcept {
  for (const PackedMatrix& piece : pieces) {
    const bool is_first = &piece == &pieces.front(), is_last = &piece == &pieces.back();
    multiply({.weight = piece,
              .slice = product.slice,
              .tile_begin = product.tile_begin,
              .tile_end = product.tile_end,
              .acts = product.acts + cpu::act_row_bytes(piece.layout->act, piece.column_begin),
              .act_stride = product.act_stride,
              .act_rows = product.act_rows,
              .act_factors = is_last ? product.act_factors : nullptr,
              .n_acts = product.n_acts,
              .out = product.out,
              .out_stride = product.out_stride,
              .accumulate = product.accumulate || !is_first,
              .scratch = product.scratch,
              .prompt = product.prompt});
  }
}

PiecedProjection::PiecedProjection(std::span<const PackedMatrix> pieces, const Places& places)
    : pieces_(pieces), parts_(by_part(pieces)), places_(places) {}

void PiecedProjection::add_demand(std::initializer_list<const WeightPlan*> weights, const RunSizes& sizes,
                                  Demand& demand) {
  std::int64_t n_pieces = 0, width = 0;
  bool whole = true;
  for (const WeightPlan* w : weights) {
    if (w == nullptr) continue;
    n_pieces += w->n_pieces();
    width = std::max(width, w->n_out);
    whole = whole && w->piece_columns >= w->n_in;
  }
  if (whole) return;
  demand.rows(RowBuffer::kPieces, n_pieces * std::min(sizes.micro_batch, kFewRows), width);
}

std::vector<TileLoad> PiecedProjection::piece_loads() const {
  std::vector<TileLoad> loads;
  for (const PackedMatrix& piece : pieces_) loads.push_back(load_of(piece));
  return loads;
}

std::vector<TileLoad> PiecedProjection::part_loads() const {
  std::vector<TileLoad> loads;
  for (const auto& pieces : parts_) {
    loads.push_back(load_of(pieces.front()));
    loads.back().tile_bytes = tile_bytes_of(pieces);
  }
  return loads;
}

void PiecedProjection::run(const Pass& pass, const cpu::Member& member, std::int64_t load,
                           const cpu::Range& tiles) const {
  if (!pass.few() && !whole()) return run_rows(pass, member, load, tiles, {0, pass.n()});
  const PackedMatrix& piece = pieces_[static_cast<std::size_t>(load)];
  project(pass, member,
          {.weight = piece,
           .tiles = tiles,
           .acts = places_.acts,
           .out = whole() ? places_.out : RowBuffer::kPieces,
           .out_begin = out_begin(piece) - piece.row_begin,
           .with_factors = whole(),
           .first_out = whole() ? out_row(pass, piece.part) : (places_.first_piece + load) * pass.n()});
}

void PiecedProjection::run_rows(const Pass& pass, const cpu::Member& member, std::int64_t p, const cpu::Range& tiles,
                                const cpu::Range& rows) const {
  const std::span<const PackedMatrix> pieces = part(p);
  const cpu::ActFormat format = pieces.front().layout->act;
  const Activations& acts = pass.buffer(places_.acts);
  Activations& out = pass.buffer(places_.out);
  for (std::int64_t tile = tiles.begin; tile < tiles.end; tile += kFfnTiles) {  // whose sums stay in L2
    for (std::int64_t i = rows.begin; i < rows.end; i += kPieceRows) {
      multiply_pieces(pieces, {.weight = pieces.front(),
                               .tile_begin = tile,
                               .tile_end = std::min(tiles.end, tile + kFfnTiles),
                               .acts = acts.data(format, i),
                               .act_stride = acts.stride(format),
                               .act_factors = acts.factors() + i,
                               .n_acts = std::min(rows.end - i, kPieceRows),
                               .out = out.row(out_row(pass, p) + i) + out_begin(pieces.front()),
                               .out_stride = out.stride_floats(),
                               .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul),
                               .prompt = pass.prompt()});
    }
  }
}

void PiecedProjection::sum(const Pass& pass, const cpu::Range& columns, std::int64_t part_index) const {
  if (whole()) return;
  for (std::int64_t k = 0; k < n_pieces(); ++k) {
    const PackedMatrix& piece = pieces_[static_cast<std::size_t>(k)];
    if (piece.part != part_index) continue;
    const std::int64_t first = out_begin(piece), begin = std::max(columns.begin, first),
                       end = std::min(columns.end, first + piece.n_out);
    for (std::int64_t i = 0; begin < end && i < pass.n(); ++i) {
      float* y = pass.buffer(places_.out).row(out_row(pass, piece.part) + i) + begin;
      const float* x = pass.buffer(RowBuffer::kPieces).row((places_.first_piece + k) * pass.n() + i) + begin;
      if (piece.column_begin == 0)
        std::copy_n(x, end - begin, y);
      else
        add_weighted(y, x, 1.0f, end - begin);
      if (&piece == &part(piece.part).back()) scale(y, pass.buffer(places_.acts).factor(i), end - begin);
    }
  }
}

void PiecedProjection::add_regions(const Pass& pass, std::vector<Region>& regions) const {
  for (std::int64_t p = 0; p < n_parts(); ++p) {
    const PackedMatrix& piece = part(p).front();
    const std::int64_t begin = out_begin(piece);
    add_region(regions, pass.buffer(places_.out), {p, out_row(pass, p), pass.n(), begin, begin + piece.n_out});
  }
}

std::uint64_t PiecedProjection::bytes() const {
  std::uint64_t bytes = 0;
  for (const PackedMatrix& piece : pieces_) bytes += piece.slice_bytes();
  return bytes;
}

}  // namespace dodeca::runtime::exec
