#include "runtime/exec/block.hpp"

#include <algorithm>

#include "runtime/exec/dense_ffn.hpp"
#include "runtime/exec/embedding.hpp"
#include "runtime/exec/gqa_attention.hpp"
#include "runtime/exec/head.hpp"
#include "runtime/exec/mla_attention.hpp"
#include "runtime/exec/moe_ffn.hpp"
#include "runtime/exec/multiply.hpp"

namespace dodeca::runtime {

void end_phase(const Phase& phase, Pass& pass, const cpu::Member& member) {
  const std::int64_t count = !phase.finish ? 0 : phase.n_items ? phase.n_items(pass) : pass.n();
  finish_items(
      pass, member, count, [&](std::int64_t i) { phase.finish(pass, i); },
      [&] {
        if (phase.last) phase.last(pass);
      });
}

void run_block(const Block& block, Pass& pass, const cpu::Member& member) {
  for (const Phase& phase : block.phases(pass)) {
    phase.deal(pass, member);
    end_phase(phase, pass, member);
  }
}

void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  switch (block.kind) {
    case BlockKind::kEmbedding:
      return Embedding::add_demand(plan, block, sizes, demand);
    case BlockKind::kMlaAttention:
      return MlaAttention::add_demand(plan, block, sizes, demand);
    case BlockKind::kGqaAttention:
      return GqaAttention::add_demand(plan, block, sizes, demand);
    case BlockKind::kDenseFfn:
      return DenseFfn::add_demand(PlannedWeights(plan, block), DenseFfn::kDense, block.n_parts(), sizes, demand);
    case BlockKind::kMoeFfn:
      return MoeFfn::add_demand(plan, block, sizes, demand);
    case BlockKind::kHead:
      return Head::add_demand(plan, block, sizes, demand);
    case BlockKind::kMtp:
      return;  // its weights are placed; nothing runs them yet
  }
}

Demand demand_of(const Plan& plan, const RunSizes& sizes) {
  Demand demand;
  for (const BlockPlan& block : plan.blocks) {
    add_demand(plan, block, sizes, demand);
    if (block.kind == BlockKind::kHead) break;  // nothing runs what is behind it yet
  }
  return demand;
}

std::unique_ptr<Block> make_block(const Model& model, const BlockPlan& plan) {
  switch (plan.kind) {
    case BlockKind::kEmbedding:
      return std::make_unique<Embedding>(model, plan);
    case BlockKind::kMlaAttention:
      return std::make_unique<MlaAttention>(model, plan);
    case BlockKind::kGqaAttention:
      return std::make_unique<GqaAttention>(model, plan);
    case BlockKind::kDenseFfn:
      return std::make_unique<DenseFfn>(model, plan, DenseFfn::kDense);
    case BlockKind::kMoeFfn:
      return std::make_unique<MoeFfn>(model, plan);
    case BlockKind::kHead:
      return std::make_unique<Head>(model, plan);
    default:
      throw Error(ErrorKind::kUnsupported, "no block runs multi-token prediction yet");
  }
}

const WeightPlan* PlannedWeights::operator[](WeightRole role) const {
  const auto found =
      std::ranges::find_if(block_.weights, [&](std::size_t w) { return plan_.weights[w].id.role == role; });
  return found == block_.weights.end() ? nullptr : &plan_.weights[*found];
}

cpu::Range own_columns(const cpu::Member& member, std::int64_t hidden_size) {
  const cpu::Range tiles = member.part((hidden_size + cpu::kTileRows - 1) / cpu::kTileRows);
  return {std::min(hidden_size, tiles.begin * cpu::kTileRows), std::min(hidden_size, tiles.end * cpu::kTileRows)};
}

void project(const Pass& pass, const cpu::Member& member, const Projection& p) {
  const cpu::ActFormat format = p.weight.layout->act;
  const Activations& acts = pass.buffer(p.acts);
  Activations& out = pass.buffer(p.out);
  multiply({.weight = p.weight,
            .tile_begin = p.tiles.begin,
            .tile_end = p.tiles.end,
            .acts = acts.data(format),
            .act_stride = acts.stride(format),
            .n_acts = pass.n(),
            .out = out.row(0) + p.out_begin + p.weight.row_begin,
            .out_stride = out.stride_floats(),
            .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul),
            .prompt = pass.prompt()});
}

Tap tap_rows(WeightRole role, RowBuffer buffer) {
  return {role, [=](const Pass& pass, const RowSink& sink) {
            for (std::int64_t i = 0; i < pass.n(); ++i) sink(0, pass.buffer(buffer).row(i));
          }};
}

}  // namespace dodeca::runtime
