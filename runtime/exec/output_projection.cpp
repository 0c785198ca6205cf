#include "runtime/exec/output_projection.hpp"

#include <algorithm>

#include "runtime/exec/ffn_products.hpp"

namespace dodeca::runtime {

OutputProjection::OutputProjection(std::span<const PackedMatrix> parts, std::span<const float> bias)
    : parts_(parts), bias_(bias) {
  for (const PackedMatrix& part : parts_) loads_.push_back(load_of(part));
}

void OutputProjection::add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  if (block.n_parts() == 1) return;
  demand.products(sizes.micro_batch);
  demand.rows(RowBuffer::kPartSums, block.n_parts() * std::min(sizes.micro_batch, kFewRows), plan.config.hidden_size);
}

void OutputProjection::quantize(const Pass& pass, std::int64_t i) const noexcept {
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    if (parts_[p])
      pass.buffer(RowBuffer::kHeads).quantize(static_cast<std::int64_t>(p) * pass.n() + i, parts_[p].n_in, pass.isa);
  }
}

void OutputProjection::quantize_block(const Pass& pass, std::size_t part, std::int64_t block) const noexcept {
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    pass.buffer(RowBuffer::kHeads)
        .quantize_block(static_cast<std::int64_t>(part) * pass.n() + i, block, parts_[part].n_in, pass.isa);
  }
}

Phase OutputProjection::phase() const {
  Phase phase{.name = "output",
              .loads = [this](const Pass&) { return std::span<const TileLoad>(loads_); },
              .run = [this](Pass& pass, const cpu::Member& member, std::size_t part,
                            const cpu::Range& tiles) { project(pass, member, part, tiles); },
              .finish_block =
                  [this](Pass& pass, std::int64_t block) {
                    if (whole()) return;
                    add_parts(pass, static_cast<std::int64_t>(parts_.size()), block);
                    add_bias(pass, columns_of(block, pass.config.hidden_size));
                  },
              .work =
                  [this](const Pass&) {
                    Work work;
                    for (const PackedMatrix& part : parts_) work.bytes += part.slice_bytes();
                    return work;
                  },
              .taps = {tap_rows(WeightRole::kAttentionOutput, RowBuffer::kHeads)}};
  if (!whole()) phase.deal = [this](Pass& pass, const cpu::Member& member) { deal(pass, member); };
  return phase;
}

void OutputProjection::project(const Pass& pass, const cpu::Member& member, std::size_t part,
                               const cpu::Range& tiles) const {
  const std::int64_t first = static_cast<std::int64_t>(part) * pass.n();
  runtime::project(pass, member,
                   {.weight = parts_[part],
                    .tiles = tiles,
                    .acts = RowBuffer::kHeads,
                    .out = whole() ? RowBuffer::kOutput : RowBuffer::kPartSums,
                    .first_act = first,
                    .first_out = whole() ? 0 : first});
  if (whole()) add_bias(pass, {tiles.begin * cpu::kTileRows, std::min(tiles.end * cpu::kTileRows, parts_[part].n_out)});
}

// Many rows: every member its columns of all parts.
void OutputProjection::deal(const Pass& pass, const cpu::Member& member) const {
  if (!clear_own_columns(pass, member)) return;
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    if (!parts_[p]) continue;
    add_down(pass, member,
             {.down = parts_[p],
              .tiles = member.part(parts_[p].n_tiles),
              .slots = {0, pass.n()},
              .hidden = RowBuffer::kHeads,
              .hidden_offset = static_cast<std::int64_t>(p) * pass.n()});
  }
  add_bias(pass, own_columns(member, pass.config.hidden_size));
}

void OutputProjection::add_bias(const Pass& pass, const cpu::Range& columns) const {
  if (bias_.empty()) return;
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    float* out = pass.buffer(RowBuffer::kOutput).row(i);
    for (std::int64_t j = columns.begin; j < columns.end; ++j) out[j] += bias_[j];
  }
}

}  // namespace dodeca::runtime
