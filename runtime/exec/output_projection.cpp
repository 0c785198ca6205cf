#include "runtime/exec/output_projection.hpp"

#include <algorithm>

#include "runtime/exec/ffn_products.hpp"
#include "runtime/exec/pieced_projection.hpp"

namespace dodeca::runtime::exec {

OutputProjection::OutputProjection(std::span<const PackedMatrix> pieces, std::span<const float> bias)
    : pieces_(pieces), bias_(bias) {
  for (const PackedMatrix& piece : pieces_) loads_.push_back(load_of(piece));
  for (const auto& part : by_part(pieces_)) widths_.push_back(n_in_of(part));
}

void OutputProjection::add_demand(const WeightPlan& weight, const RunSizes& sizes, Demand& demand) {
  if (weight.n_pieces() == 1) return;
  demand.rows(RowBuffer::kPartSums, weight.n_pieces() * std::min(sizes.micro_batch, kFewRows), weight.n_out);
}

void OutputProjection::quantize(const Pass& pass, std::int64_t i) const noexcept {
  for (std::size_t p = 0; p < widths_.size(); ++p)
    pass.buffer(RowBuffer::kHeads).quantize(static_cast<std::int64_t>(p) * pass.n() + i, widths_[p], pass.isa);
}

void OutputProjection::quantize_block(const Pass& pass, std::size_t part, std::int64_t block) const noexcept {
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    pass.buffer(RowBuffer::kHeads)
        .quantize_block(static_cast<std::int64_t>(part) * pass.n() + i, block, widths_[part], pass.isa);
  }
}

Phase OutputProjection::phase() const {
  Phase phase{.name = "output",
              .loads = [this](const Pass&) { return std::span<const TileLoad>(loads_); },
              .run = [this](Pass& pass, const cpu::Member& member, std::size_t piece,
                            const cpu::Range& tiles) { project(pass, member, piece, tiles); },
              .finish_block =
                  [this](Pass& pass, std::int64_t block) {
                    if (whole()) return;
                    add_parts(pass, {pieces_}, block);
                    add_bias(pass, columns_of(block, pass.config.hidden_size));
                  },
              .work =
                  [this](const Pass&) {
                    Work work;
                    for (const PackedMatrix& piece : pieces_) work.bytes += piece.slice_bytes();
                    return work;
                  },
              .taps = {tap_rows(WeightRole::kAttentionOutput, RowBuffer::kHeads)}};
  if (!whole()) phase.deal = [this](Pass& pass, const cpu::Member& member) { deal(pass, member); };
  return phase;
}

void OutputProjection::project(const Pass& pass, const cpu::Member& member, std::size_t index,
                               const cpu::Range& tiles) const {
  const PackedMatrix& piece = pieces_[index];
  exec::project(pass, member,
                {.weight = piece,
                 .tiles = tiles,
                 .acts = RowBuffer::kHeads,
                 .out = whole() ? RowBuffer::kOutput : RowBuffer::kPartSums,
                 .first_act = piece.part * pass.n(),
                 .first_out = whole() ? 0 : static_cast<std::int64_t>(index) * pass.n()});
  if (whole()) add_bias(pass, {tiles.begin * cpu::kTileRows, std::min(tiles.end * cpu::kTileRows, piece.n_out)});
}

// Many rows: every member its columns of all pieces.
void OutputProjection::deal(const Pass& pass, const cpu::Member& member) const {
  project_parts(pass, member, pieces_, RowBuffer::kHeads, false);
  add_bias(pass, own_columns(member, pass.config.hidden_size));
}

void OutputProjection::add_bias(const Pass& pass, const cpu::Range& columns) const {
  if (bias_.empty()) return;
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    float* out = pass.buffer(RowBuffer::kOutput).row(i);
    for (std::int64_t j = columns.begin; j < columns.end; ++j) out[j] += bias_[j];
  }
}

}  // namespace dodeca::runtime::exec
