#include "runtime/exec/dense_ffn.hpp"

#include <algorithm>
#include <iterator>

namespace dodeca::runtime {

DenseFfn::DenseFfn(const Model& model, const BlockPlan& plan, const Roles& roles)
    : Block(plan),
      gate_(model.weights().parts({roles.gate, plan.layer})),
      up_(model.weights().parts({roles.up, plan.layer})),
      down_(model.weights().parts({roles.down, plan.layer})),
      norm_(model.weights().vector({WeightRole::kFfnNorm, plan.layer})) {
  for (std::size_t p = 0; p < gate_.size(); ++p) {
    first_block_.push_back(n_blocks_);
    for (const PackedMatrix* weight : {&gate_[p], &up_[p]})
      gate_up_loads_.push_back(
          {.n_tiles = weight->n_tiles, .tile_bytes = weight->tile_bytes, .first_block = n_blocks_});
    pair_loads_.push_back({.n_tiles = gate_[p].n_tiles, .tile_bytes = gate_[p].tile_bytes + up_[p].tile_bytes});
    down_loads_.push_back(load_of(down_[p]));
    n_blocks_ += blocks_of(gate_[p].n_out);
  }
  phases_ = {
      {.name = "dense gate, up",
       .loads = [this](const Pass&) { return gate_up_loads(); },
       .run = [this](Pass& pass, const cpu::Member& member, std::size_t load,
                     const cpu::Range& tiles) { run_gate_up(pass, member, load, tiles); },
       .deal = [this](Pass& pass, const cpu::Member& member) { deal_gate_up(pass, member); },
       .finish_block = [this](Pass& pass, std::int64_t block) { finish_gate_up(pass, block); },
       .finish = [this](Pass& pass, std::int64_t i) { quantize_row(pass, i); },
       .work = [this](const Pass&) { return Work{gate_up_bytes()}; },
       .taps = {tap_rows(roles.gate, RowBuffer::kInput)}},
      {.name = "dense down",
       .loads = [this](const Pass&) { return down_loads(); },
       .run = [this](Pass& pass, const cpu::Member& member, std::size_t part,
                     const cpu::Range& tiles) { run_down(pass, member, part, tiles, 0); },
       .deal =
           [this](Pass& pass, const cpu::Member& member) {
             if (clear_own_columns(pass, member)) add_down_columns(pass, member);
           },
       .finish_block = [this](Pass& pass, std::int64_t block) { add_parts(pass, std::ssize(down_), block); },
       .work = [this](const Pass&) { return Work{down_bytes()}; },
       .taps = {tap_rows(roles.down, RowBuffer::kDenseHidden)}},
  };
}

void DenseFfn::add_demand(const PlannedWeights& weights, const Roles& roles, std::int64_t n_parts,
                          const RunSizes& sizes, Demand& demand) {
  const WeightPlan* down = weights[roles.down];
  if (down == nullptr) return;
  demand.read_by(RowBuffer::kInput, weights[roles.gate]);
  demand.read_by(RowBuffer::kInput, weights[roles.up]);
  demand.read_by(RowBuffer::kDenseHidden, down);
  std::int64_t width = 0;
  for (const WeightPart& part : down->parts) width = std::max(width, part.columns.size());
  demand.rows(RowBuffer::kDenseHidden, n_parts * sizes.micro_batch, width);
  const std::int64_t few = n_parts * std::min(sizes.micro_batch, kFewRows);
  for (const RowBuffer product : {RowBuffer::kGate, RowBuffer::kUp}) demand.rows(product, few, width);
  demand.rows(RowBuffer::kPartSums, few, down->n_out);
  demand.blocks(n_parts * blocks_of(width));
  demand.products(sizes.micro_batch);
}

void DenseFfn::run_gate_up(const Pass& pass, const cpu::Member& member, std::size_t load,
                           const cpu::Range& tiles) const {
  const std::size_t part = load / 2;
  project(pass, member,
          {.weight = load % 2 == 0 ? gate_[part] : up_[part],
           .tiles = tiles,
           .acts = RowBuffer::kInput,
           .out = load % 2 == 0 ? RowBuffer::kGate : RowBuffer::kUp,
           .out_begin = -gate_[part].row_begin,
           .first_out = static_cast<std::int64_t>(part) * pass.n()});
}

void DenseFfn::finish_gate_up(const Pass& pass, std::int64_t block) const {
  std::size_t part = first_block_.size() - 1;
  while (block < first_block_[part]) --part;
  const std::int64_t width = gate_[part].n_out, own = block - first_block_[part];
  for (std::int64_t i = 0; i < pass.n(); ++i)
    swiglu_block(pass, static_cast<std::int64_t>(part) * pass.n() + i, own, width, RowBuffer::kDenseHidden);
}

void DenseFfn::run_down(const Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& tiles,
                        std::int64_t first_row) const {
  const std::int64_t first = static_cast<std::int64_t>(part) * pass.n();
  project(pass, member,
          {.weight = down_[part],
           .tiles = tiles,
           .acts = RowBuffer::kDenseHidden,
           .out = RowBuffer::kPartSums,
           .first_act = first,
           .first_out = first_row + first});
}

void DenseFfn::deal_gate_up(const Pass& pass, const cpu::Member& member) const {
  for_share(pair_loads_, member.index, member.size,
            [&](std::size_t part, const cpu::Range& tiles) { gate_up_tiles(pass, member, part, tiles); });
}

void DenseFfn::gate_up_tiles(const Pass& pass, const cpu::Member& member, std::size_t part,
                             const cpu::Range& tiles) const {
  gate_up(pass, member,
          {.gate = gate_[part],
           .up = up_[part],
           .tiles = tiles,
           .slots = {0, pass.n()},
           .hidden = RowBuffer::kDenseHidden,
           .hidden_offset = static_cast<std::int64_t>(part) * pass.n()});
}

void DenseFfn::quantize_row(const Pass& pass, std::int64_t i) const {
  for (std::size_t p = 0; p < down_.size(); ++p) {
    if (down_[p])
      pass.buffer(RowBuffer::kDenseHidden)
          .quantize(static_cast<std::int64_t>(p) * pass.n() + i, down_[p].n_in, pass.isa);
  }
}

void DenseFfn::add_down_columns(const Pass& pass, const cpu::Member& member) const {
  for (std::size_t p = 0; p < down_.size(); ++p) {
    if (!down_[p]) continue;
    add_down(pass, member,
             {.down = down_[p],
              .tiles = member.part(down_[p].n_tiles),
              .slots = {0, pass.n()},
              .hidden = RowBuffer::kDenseHidden,
              .hidden_offset = static_cast<std::int64_t>(p) * pass.n()});
  }
}

std::uint64_t DenseFfn::gate_up_bytes() const {
  std::uint64_t bytes = 0;
  for (std::size_t p = 0; p < gate_.size(); ++p) bytes += gate_[p].slice_bytes() + up_[p].slice_bytes();
  return bytes;
}

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

}  // namespace dodeca::runtime
