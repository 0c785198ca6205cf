// Products of the pass's rows with a weight that may lie in pieces of columns (WeightPlan::piece_columns). Few rows: each
// piece is a load of its own and leaves its results apart; sum() adds up those of a block, in the order of the pieces.
// Many rows: whoever has a tile multiplies all its pieces. Both give the same bits.
#pragma once

#include <initializer_list>

#include "runtime/exec/block.hpp"
#include "runtime/exec/multiply.hpp"

namespace dodeca::runtime::exec {

class PiecedProjection {
 public:
  struct Places {
    RowBuffer acts, out;
    std::int64_t first_piece = 0;  // index of the first piece among all of its phase
    bool out_by_part = false;  // results are a row of `out` per part, from column 0; else at their place in the weight
  };
  PiecedProjection(std::span<const PackedMatrix> pieces, const Places& places);
  // Room for the results of the weights of a phase; null: the model has none.
  static void add_demand(std::initializer_list<const WeightPlan*> weights, const RunSizes& sizes, Demand& demand);

  std::int64_t n_pieces() const { return static_cast<std::int64_t>(pieces_.size()); }
  std::int64_t n_parts() const { return static_cast<std::int64_t>(parts_.size()); }
  // The pieces of a part; one at least.
  std::span<const PackedMatrix> part(std::int64_t p) const { return parts_[static_cast<std::size_t>(p)]; }
  std::int64_t n_out(std::int64_t p) const { return part(p).front().n_out; }
  // A load per piece, and a load per part.
  std::vector<TileLoad> piece_loads() const;
  std::vector<TileLoad> part_loads() const;
  // `load`: a piece with few rows, a part with many.
  void run(const Pass& pass, const cpu::Member& member, std::int64_t load, const cpu::Range& tiles) const;
  // Many rows: all pieces of a part, for some of the rows.
  void run_rows(const Pass& pass, const cpu::Member& member, std::int64_t part, const cpu::Range& tiles,
                const cpu::Range& rows) const;
  // Few rows: completes what a part has of columns of `out`.
  void sum(const Pass& pass, const cpu::Range& columns, std::int64_t part) const;
  // Every part's columns of `out`, where parts are in processes of their own.
  void add_regions(const Pass& pass, std::vector<Region>& regions) const;
  std::uint64_t bytes() const;

 private:
  bool whole() const { return pieces_.size() == parts_.size(); }
  std::int64_t out_row(const Pass& pass, std::int64_t part) const {
    return places_.out_by_part ? pass.buffer(places_.out).first_row(part) : 0;
  }
  std::int64_t out_begin(const PackedMatrix& piece) const { return places_.out_by_part ? 0 : piece.row_begin; }

  std::span<const PackedMatrix> pieces_;
  std::vector<std::span<const PackedMatrix>> parts_;
  Places places_;
};

// The pieces of each part of a weight.
std::vector<std::span<const PackedMatrix>> by_part(std::span<const PackedMatrix> pieces);
// Columns of a part, or bytes of a tile of it.
std::int64_t n_in_of(std::span<const PackedMatrix> pieces);
std::uint64_t tile_bytes_of(std::span<const PackedMatrix> pieces);

// Rows times all pieces of one part: `product` says everything but the weight; its rows begin at the part's first column.
void multiply_pieces(std::span<const PackedMatrix> pieces, const Product& product) noexcept;

}  // namespace dodeca::runtime::exec
