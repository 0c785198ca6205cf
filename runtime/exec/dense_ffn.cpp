#include "runtime/exec/dense_ffn.hpp"

#include <algorithm>
#include <iterator>

namespace dodeca::runtime::exec {

DenseFfn::DenseFfn(const Model& model, const BlockPlan& plan, const Roles& roles, std::int64_t first_piece)
    : Block(plan),
      gate_(model.weights().parts({roles.gate, plan.layer}),
            {.acts = RowBuffer::kInput, .out = RowBuffer::kGate, .first_piece = first_piece, .out_by_part = true}),
      up_(model.weights().parts({roles.up, plan.layer}), {.acts = RowBuffer::kInput,
                                                          .out = RowBuffer::kUp,
                                                          .first_piece = first_piece + gate_.n_pieces(),
                                                          .out_by_part = true}),
      down_(model.weights().parts({roles.down, plan.layer})),
      parts_(parts_with(down_)),
      norm_(model.weights().vector({WeightRole::kFfnNorm, plan.layer})) {
  std::int64_t n_blocks = 0;
  for (std::int64_t p = 0; p < gate_.n_parts(); ++p) {
    first_block_.push_back(n_blocks);
    widths_.push_back(gate_.n_out(p));
    pair_loads_.push_back({.n_tiles = gate_.part(p).front().n_tiles,
                           .tile_bytes = tile_bytes_of(gate_.part(p)) + tile_bytes_of(up_.part(p)),
                           .part = static_cast<std::int32_t>(p)});
    n_blocks += blocks_of(gate_.n_out(p));
  }
  for (const PiecedProjection* weight : {&gate_, &up_}) {
    for (std::int64_t p = 0; p < weight->n_parts(); ++p) {
      for (const PackedMatrix& piece : weight->part(p))
        gate_up_loads_.push_back({.n_tiles = piece.n_tiles,
                                  .tile_bytes = piece.tile_bytes,
                                  .part = static_cast<std::int32_t>(p),
                                  .first_block = first_block_[static_cast<std::size_t>(p)]});
    }
  }
  for (const PackedMatrix& piece : down_) down_loads_.push_back(load_of(piece));
  phases_ = {
      {.name = "dense gate, up",
       .loads = [this](const Pass&) { return gate_up_loads(); },
       .run = [this](Pass& pass, const cpu::Member& member, std::size_t load,
                     const cpu::Range& tiles) { run_gate_up(pass, member, load, tiles); },
       .deal =
           [this](Pass& pass, const cpu::Member& member) {
             for_share(pair_loads_, pass.crews.place(member),
                       [&](std::size_t part, const cpu::Range& tiles) { gate_up_tiles(pass, member, part, tiles); });
           },
       .finish_block = [this](Pass& pass, std::int64_t block) { finish_gate_up(pass, block); },
       .finish = [this](Pass& pass, std::int64_t i) { quantize_row(pass, i); },
       .work = [this](const Pass&) { return Work{gate_up_bytes()}; },
       .taps = {tap_rows(roles.gate, RowBuffer::kInput)},
       .end = PhaseEnd::kPart},
      {.name = "dense down",
       .loads = [this](const Pass&) { return down_loads(); },
       .run = [this](Pass& pass, const cpu::Member& member, std::size_t part,
                     const cpu::Range& tiles) { run_down(pass, member, part, tiles, 0); },
       .deal = [this](
                   Pass& pass,
                   const cpu::Member& member) { project_parts(pass, member, down_, RowBuffer::kDenseHidden, false); },
       .finish_part = [this](Pass& pass, std::int64_t part,
                             std::int64_t block) { add_down_pieces(pass, part, block, 0, false); },
       .work = [this](const Pass&) { return Work{down_bytes()}; },
       .taps = {tap_rows(roles.down, RowBuffer::kDenseHidden)},
       .joint = [this](Pass& pass, std::vector<Region>& regions) { add_output_regions(pass, parts_, regions); }},
  };
}

void DenseFfn::add_demand(const PlannedWeights& weights, const Roles& roles, const RunSizes& sizes, Demand& demand) {
  const WeightPlan* down = weights[roles.down];
  if (down == nullptr) return;
  demand.read_by(RowBuffer::kInput, weights[roles.gate]);
  demand.read_by(RowBuffer::kInput, weights[roles.up]);
  demand.read_by(RowBuffer::kDenseHidden, down);
  std::int64_t width = 0;
  for (const WeightPart& part : down->parts) width = std::max(width, part.columns.size());
  demand.part_rows(RowBuffer::kDenseHidden, sizes.micro_batch, width);
  const std::int64_t few = std::min(sizes.micro_batch, kFewRows);
  for (const RowBuffer product : {RowBuffer::kGate, RowBuffer::kUp}) demand.part_rows(product, few, width);
  demand.part_rows(RowBuffer::kPartSums, most_pieces(down) * few, down->n_out);
  demand.blocks(std::ssize(down->parts) * blocks_of(width));
  demand.products(sizes.micro_batch);
}

void DenseFfn::run_gate_up(const Pass& pass, const cpu::Member& member, std::size_t load,
                           const cpu::Range& tiles) const {
  const auto at = static_cast<std::int64_t>(load);
  if (at < gate_.n_pieces())
    gate_.run(pass, member, at, tiles);
  else
    up_.run(pass, member, at - gate_.n_pieces(), tiles);
}

void DenseFfn::finish_gate_up(const Pass& pass, std::int64_t block) const {
  std::size_t p = first_block_.size() - 1;
  while (block < first_block_[p]) --p;
  const std::int64_t own = block - first_block_[p], width = widths_[p], part = static_cast<std::int64_t>(p);
  for (const PiecedProjection* weight : {&gate_, &up_}) weight->sum(pass, columns_of(own, width), part);
  for (std::int64_t i = 0; i < pass.n(); ++i) activate_block(pass, {part, i, own, width}, RowBuffer::kDenseHidden);
}

void DenseFfn::run_down(const Pass& pass, const cpu::Member& member, std::size_t index, const cpu::Range& tiles,
                        std::int64_t first_row) const {
  const PackedMatrix& piece = down_[index];
  project(pass, member,
          {.weight = piece,
           .tiles = tiles,
           .acts = RowBuffer::kDenseHidden,
           .out = RowBuffer::kPartSums,
           .first_act = pass.buffer(RowBuffer::kDenseHidden).first_row(piece.part),
           .first_out = pass.buffer(RowBuffer::kPartSums).first_row(piece.part) + first_row +
                        index_in_part(down_, index) * pass.n()});
}

void DenseFfn::gate_up_tiles(const Pass& pass, const cpu::Member& member, std::size_t part,
                             const cpu::Range& tiles) const {
  const auto p = static_cast<std::int64_t>(part);
  gate_up(pass, member,
          {.gate = gate_.part(p),
           .up = up_.part(p),
           .tiles = tiles,
           .slots = {0, pass.n()},
           .hidden = RowBuffer::kDenseHidden,
           .hidden_offset = pass.buffer(RowBuffer::kDenseHidden).first_row(p)});
}

void DenseFfn::quantize_row(const Pass& pass, std::int64_t i) const {
  Activations& hidden = pass.buffer(RowBuffer::kDenseHidden);
  const cpu::Range parts = pass.crews.parts_here();
  for (std::int64_t p = parts.begin; p < std::min(parts.end, std::ssize(widths_)); ++p)
    hidden.quantize(hidden.first_row(p) + i, widths_[static_cast<std::size_t>(p)], pass.isa);
}

void DenseFfn::add_down_columns(const Pass& pass, const cpu::Member& member) const {
  if (!down_.empty()) project_parts(pass, member, down_, RowBuffer::kDenseHidden, true);
}

void DenseFfn::add_down_pieces(const Pass& pass, std::int64_t part, std::int64_t block, std::int64_t first_row,
                               bool accumulate) const {
  add_pieces(pass, {down_, first_row, accumulate}, part, block);
}

std::uint64_t DenseFfn::gate_up_bytes() const { return gate_.bytes() + up_.bytes(); }

std::uint64_t DenseFfn::down_bytes() const {
  std::uint64_t bytes = 0;
  for (const PackedMatrix& part : down_) bytes += part.slice_bytes();
  return bytes;
}

std::uint64_t DenseFfn::down_macs() const {
  std::uint64_t macs = 0;
  for (const PackedMatrix& part : down_) macs += part.macs();
  return macs;
}

}  // namespace dodeca::runtime::exec
