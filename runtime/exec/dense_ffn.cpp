#include "runtime/exec/dense_ffn.hpp"

namespace dodeca::runtime {

DenseFfn::DenseFfn(const Model& model, const BlockPlan& plan, const Roles& roles)
    : Block(plan),
      gate_(model.weights().parts({roles.gate, plan.layer})),
      up_(model.weights().parts({roles.up, plan.layer})),
      down_(model.weights().parts({roles.down, plan.layer})),
      norm_(model.weights().vector({WeightRole::kFfnNorm, plan.layer})) {
  for (std::size_t p = 0; p < gate_.size(); ++p)
    loads_.push_back({gate_[p].n_tiles, gate_[p].tile_bytes + up_[p].tile_bytes});
  phases_ = {
      {.name = "dense gate, up",
       .deal =
           [this](Pass& pass, const cpu::Member& member) {
             deal_tiles(member, loads_,
                        [&](std::size_t part, const cpu::Range& tiles) { gate_up_tiles(pass, member, part, tiles); });
           },
       .finish = [this](Pass& pass, std::int64_t i) { quantize_row(pass, i); },
       .work = [this](const Pass&) { return Work{gate_up_bytes()}; },
       .taps = {tap_rows(roles.gate, RowBuffer::kInput)}},
      {.name = "dense down",
       .deal =
           [this](Pass& pass, const cpu::Member& member) {
             if (clear_own_columns(pass, member)) add_down_columns(pass, member);
           },
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
  demand.products(sizes.micro_batch);
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
