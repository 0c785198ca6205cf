#include "runtime/exec/head.hpp"

#include <algorithm>

#include "runtime/exec/multiply.hpp"

namespace dodeca::runtime::exec {
namespace {

WeightId main_output(const ModelConfig& config) {
  return {config.tied_embeddings ? WeightRole::kEmbedding : WeightRole::kOutput};
}

WeightId output_of(const Model& model, const BlockPlan& plan) {
  const WeightId own{WeightRole::kMtpOutput, plan.layer};
  const bool has_own = plan.kind == BlockKind::kMtp && !model.weights().parts(own).empty();
  return has_own ? own : main_output(model.config());
}

std::span<const float> norm_of(const Model& model, const BlockPlan& plan) {
  const std::span<const float> own = model.weights().vector({WeightRole::kMtpOutputNorm, plan.layer});
  return plan.kind == BlockKind::kMtp && !own.empty() ? own : model.weights().vector({WeightRole::kOutputNorm});
}

}  // namespace

Head::Head(const Model& model, const BlockPlan& plan)
    : Block(plan),
      output_id_(output_of(model, plan)),
      output_(model.weights().parts(output_id_)),
      norm_(norm_of(model, plan)) {
  for (const PackedMatrix& part : output_) loads_.push_back(load_of(part));
  phases_ = {
      {.name = "head",
       .loads =
           [this](const Pass& pass) { return std::span(loads_).first(pass.logit_rows.empty() ? 0 : loads_.size()); },
       .run = [this](Pass& pass, const cpu::Member& member, std::size_t part,
                     const cpu::Range& tiles) { project(pass, member, part, tiles); },
       .work =
           [this](const Pass& pass) {
             Work work;
             for (const PackedMatrix& part : output_) work.bytes += part.slice_bytes();
             return pass.logit_rows.empty() ? Work{} : work;
           },
       .taps = {{output_id_.role,
                 [](const Pass& pass, const RowSink& sink) {
                   for (const std::int32_t k : pass.logit_rows)
                     sink(0, pass.buffer(RowBuffer::kHeadInput).row(k), pass.buffer(RowBuffer::kHeadInput).factor(k));
                 }}},
       .joint = [this](Pass& pass, std::vector<Region>& regions) { add_regions(pass, regions); }}};
}

void Head::add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  demand.rows(RowBuffer::kHeadInput, sizes.micro_batch, plan.config.hidden_size);
  for (const WeightRole role : {main_output(plan.config).role, WeightRole::kMtpOutput})
    demand.read_by(RowBuffer::kHeadInput, PlannedWeights(plan, block)[role]);
}

std::int64_t Head::input_of(const Pass& pass, std::int64_t row) const {
  const auto found = std::ranges::lower_bound(pass.wanted, row);
  return found == pass.wanted.end() || *found != row ? -1 : found - pass.wanted.begin();
}

void Head::add_regions(const Pass& pass, std::vector<Region>& regions) const {
  for (const PackedMatrix& part : output_) {
    if (!part || pass.logit_rows.empty()) continue;
    regions.push_back({.part = part.part,
                       .data = reinterpret_cast<std::byte*>(pass.logits + part.row_begin),
                       .bytes = static_cast<std::size_t>(part.n_out) * sizeof(float),
                       .stride = static_cast<std::size_t>(pass.config.vocab_size) * sizeof(float),
                       .n_rows = static_cast<std::int64_t>(pass.logit_rows.size())});
  }
}

void Head::project(const Pass& pass, const cpu::Member& member, std::size_t p, const cpu::Range& tiles) const {
  const Activations& input = pass.buffer(RowBuffer::kHeadInput);
  const PackedMatrix& part = output_[p];
  const cpu::ActFormat format = part.layout->act;
  multiply({.weight = part,
            .tile_begin = tiles.begin,
            .tile_end = tiles.end,
            .acts = input.data(format),
            .act_stride = input.stride(format),
            .act_rows = pass.logit_rows.data(),
            .act_factors = input.factors(),
            .n_acts = static_cast<std::int64_t>(pass.logit_rows.size()),
            .out = pass.logits + part.row_begin,
            .out_stride = pass.config.vocab_size,
            .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul)});
}

}  // namespace dodeca::runtime::exec
