#include "runtime/exec/output_projection.hpp"

#include <algorithm>

#include "runtime/exec/ffn_products.hpp"
#include "runtime/exec/pieced_projection.hpp"

namespace dodeca::runtime::exec {

OutputProjection::OutputProjection(std::span<const PackedMatrix> pieces, std::span<const float> bias)
    : pieces_(pieces), parts_(parts_with(pieces)), bias_(bias) {
  for (const PackedMatrix& piece : pieces_) loads_.push_back(load_of(piece));
  for (const auto& part : by_part(pieces_)) widths_.push_back(n_in_of(part));
}

void OutputProjection::add_demand(const WeightPlan& weight, const RunSizes& sizes, Demand& demand) {
  if (weight.n_pieces() == 1) return;
  demand.part_rows(RowBuffer::kPartSums, most_pieces(&weight) * std::min(sizes.micro_batch, kFewRows), weight.n_out);
}

void OutputProjection::quantize(const Pass& pass, std::int64_t i) const noexcept {
  Activations& heads = pass.buffer(RowBuffer::kHeads);
  const cpu::Range parts = pass.crews.parts_here();
  for (std::int64_t p = parts.begin; p < parts.end; ++p)
    heads.quantize(heads.first_row(p) + i, widths_[static_cast<std::size_t>(p)], pass.isa);
}

void OutputProjection::quantize_block(const Pass& pass, std::size_t part, std::int64_t block) const noexcept {
  Activations& heads = pass.buffer(RowBuffer::kHeads);
  for (std::int64_t i = 0; i < pass.n(); ++i)
    heads.quantize_block(heads.first_row(static_cast<std::int64_t>(part)) + i, block, widths_[part], pass.isa);
}

Phase OutputProjection::phase() const {
  Phase phase{.name = "output",
              .loads = [this](const Pass&) { return std::span<const TileLoad>(loads_); },
              .run = [this](Pass& pass, const cpu::Member& member, std::size_t piece,
                            const cpu::Range& tiles) { project(pass, member, piece, tiles); },
              .finish_part =
                  [this](Pass& pass, std::int64_t part, std::int64_t block) {
                    if (whole()) return;
                    add_pieces(pass, {pieces_}, part, block);
                    add_bias(pass, part, columns_of(block, pass.config.hidden_size));
                  },
              .work =
                  [this](const Pass&) {
                    Work work;
                    for (const PackedMatrix& piece : pieces_) work.bytes += piece.slice_bytes();
                    return work;
                  },
              .taps = {tap_rows(WeightRole::kAttentionOutput, RowBuffer::kHeads)},
              .joint = [this](Pass& pass, std::vector<Region>& regions) { add_output_regions(pass, parts_, regions); }};
  if (!whole()) phase.deal = [this](Pass& pass, const cpu::Member& member) { deal(pass, member); };
  return phase;
}

void OutputProjection::project(const Pass& pass, const cpu::Member& member, std::size_t index,
                               const cpu::Range& tiles) const {
  const PackedMatrix& piece = pieces_[index];
  const std::int64_t sums = whole() ? 0 : pass.buffer(RowBuffer::kPartSums).first_row(piece.part);
  exec::project(pass, member,
                {.weight = piece,
                 .tiles = tiles,
                 .acts = RowBuffer::kHeads,
                 .out = whole() ? RowBuffer::kOutput : RowBuffer::kPartSums,
                 .first_act = pass.buffer(RowBuffer::kHeads).first_row(piece.part),
                 .first_out = whole() ? 0 : sums + index_in_part(pieces_, index) * pass.n()});
  if (whole()) add_bias(pass, 0, {tiles.begin * cpu::kTileRows, std::min(tiles.end * cpu::kTileRows, piece.n_out)});
}

// Many rows: every member its columns of its parts.
void OutputProjection::deal(const Pass& pass, const cpu::Member& member) const {
  const cpu::CrewPlace& place = pass.crews.place(member);
  project_parts(pass, member, pieces_, RowBuffer::kHeads, false);
  for (std::int64_t part = place.first_part; part < place.end_part; ++part)
    add_bias(pass, part, own_columns(pass, member));
}

void OutputProjection::add_bias(const Pass& pass, std::int64_t part, const cpu::Range& columns) const {
  if (bias_.empty() || part != parts_.front()) return;
  Activations& out = pass.buffer(RowBuffer::kOutput);
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    float* row = out.row(out.first_row(part) + i);
    for (std::int64_t j = columns.begin; j < columns.end; ++j) row[j] += bias_[j];
  }
}

}  // namespace dodeca::runtime::exec
