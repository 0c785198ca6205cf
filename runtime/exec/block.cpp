#include "runtime/exec/block.hpp"

#include <algorithm>
#include <cmath>

#include "runtime/exec/dense_ffn.hpp"
#include "runtime/exec/embedding.hpp"
#include "runtime/exec/ffn_products.hpp"
#include "runtime/exec/gqa_attention.hpp"
#include "runtime/exec/head.hpp"
#include "runtime/exec/mla_attention.hpp"
#include "runtime/exec/moe_ffn.hpp"
#include "runtime/exec/mtp_input.hpp"
#include "runtime/exec/multiply.hpp"

namespace dodeca::runtime::exec {

void run_block(const Block& block, Pass& pass, const cpu::Member& member) {
  for (const Phase& phase : block.phases(pass)) run_phase(phase, pass, member);
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
      PiecedProjection::add_demand(
          {PlannedWeights(plan, block)[WeightRole::kGate], PlannedWeights(plan, block)[WeightRole::kUp]}, sizes,
          demand);
      return DenseFfn::add_demand(PlannedWeights(plan, block), DenseFfn::kDense, sizes, demand);
    case BlockKind::kMoeFfn:
      return MoeFfn::add_demand(plan, block, sizes, demand);
    case BlockKind::kHead:
      return Head::add_demand(plan, block, sizes, demand);
    case BlockKind::kMtp:
      MtpInput::add_demand(plan, block, sizes, demand);
      return Head::add_demand(plan, block, sizes, demand);
  }
}

Demand demand_of(const Plan& plan, const RunSizes& sizes) {
  Demand demand(std::ssize(plan.options.shares));
  for (const BlockPlan& block : plan.blocks) {
    // Of a block on a device only the routed experts may run here.
    if (block.place == Place::kCpu || (block.kind == BlockKind::kMoeFfn && block.experts_place == Place::kCpu))
      add_demand(plan, block, sizes, demand);
    // The rows behind the last norm, for those that want them.
    if (block.place == Place::kDevice && block.kind == BlockKind::kHead)
      demand.rows(RowBuffer::kHeadInput, sizes.micro_batch, plan.config.hidden_size);
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
    case BlockKind::kMtp:
      break;
  }
  return std::make_unique<MtpInput>(model, plan);
}

std::unique_ptr<Block> make_mtp_head(const Model& model, const BlockPlan& plan) {
  return std::make_unique<Head>(model, plan);
}

const WeightPlan* PlannedWeights::operator[](WeightRole role) const {
  const auto found =
      std::ranges::find_if(block_.weights, [&](std::size_t w) { return plan_.weights[w].id.role == role; });
  return found == block_.weights.end() ? nullptr : &plan_.weights[*found];
}

std::vector<std::int32_t> parts_with(std::span<const PackedMatrix> pieces) {
  std::vector<std::int32_t> parts;
  for (const PackedMatrix& piece : pieces) {
    if (piece && (parts.empty() || parts.back() != piece.part)) parts.push_back(static_cast<std::int32_t>(piece.part));
  }
  return parts;
}

void sum_parts(const Pass& pass, std::span<const std::int32_t> parts, std::int64_t i,
               const cpu::Range& columns) noexcept {
  Activations& out = pass.buffer(RowBuffer::kOutput);
  const std::int64_t n = columns.end - columns.begin;
  float* sum = out.row(i) + columns.begin;
  for (const std::int32_t part : parts) {
    const float* own = out.row(out.first_row(part) + i) + columns.begin;
    if (part != parts.front())
      add_weighted(sum, own, 1.0f, n);
    else if (own != sum)
      std::copy_n(own, n, sum);
  }
}

void add_output_regions(const Pass& pass, std::span<const std::int32_t> parts, std::vector<Region>& regions) {
  Activations& out = pass.buffer(RowBuffer::kOutput);
  for (const std::int32_t part : parts)
    add_region(regions, out, {part, out.first_row(part), pass.n(), 0, pass.config.hidden_size});
}

cpu::Range own_columns(const Pass& pass, const cpu::Member& member) {
  const std::int64_t hidden = pass.config.hidden_size;
  const cpu::Range tiles = pass.crews.place(member).share((hidden + cpu::kTileRows - 1) / cpu::kTileRows);
  return {std::min(hidden, tiles.begin * cpu::kTileRows), std::min(hidden, tiles.end * cpu::kTileRows)};
}

void project(const Pass& pass, const cpu::Member& member, const Projection& p) {
  const cpu::ActFormat format = p.weight.layout->act;
  const Activations& acts = pass.buffer(p.acts);
  Activations& out = pass.buffer(p.out);
  multiply({.weight = p.weight,
            .tile_begin = p.tiles.begin,
            .tile_end = p.tiles.end,
            .acts = acts.data(format, p.first_act, p.weight.column_begin),
            .act_stride = acts.stride(format),
            .act_factors = p.with_factors ? acts.factors() + p.first_act : nullptr,
            .n_acts = pass.n(),
            .out = out.row(p.first_out) + p.out_begin + p.weight.row_begin,
            .out_stride = out.stride_floats(),
            .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul),
            .prompt = pass.prompt()});
}

TileLoad load_of(const PackedMatrix& part) {
  return {.n_tiles = part.n_tiles,
          .tile_bytes = part.tile_bytes,
          .part = static_cast<std::int32_t>(part.part),
          .first_tile = part.row_begin / cpu::kTileRows};
}

float& squares_of(const Pass& pass, std::int64_t i, std::int64_t block) {
  const auto per_row = static_cast<std::int64_t>(pass.space.array_bytes(ArrayBuffer::kSquares) / sizeof(float)) /
                       pass.buffer(RowBuffer::kResidual).n_rows();
  return pass.space.array<float>(ArrayBuffer::kSquares)[i * per_row + block];
}

float inverse_norm(const Pass& pass, std::int64_t i, std::int64_t n) {
  float sum = 0.0f;
  for (std::int64_t b = 0; b < blocks_of(n); ++b) sum += squares_of(pass, i, b);
  return 1.0f / std::sqrt(sum / static_cast<float>(n) + static_cast<float>(pass.config.rms_norm_eps));
}

Tap tap_rows(WeightRole role, RowBuffer buffer) {
  return {role, [=](const Pass& pass, const RowSink& sink) {
            const Activations& rows = pass.buffer(buffer);
            for (std::int64_t i = 0; i < pass.n(); ++i) sink(0, rows.row(i), rows.factor(i));
          }};
}

}  // namespace dodeca::runtime::exec
