#include "runtime/exec/head.hpp"

#include "runtime/exec/multiply.hpp"

namespace dodeca::runtime {
namespace {

WeightRole role_of_output(const ModelConfig& config) {
  return config.tied_embeddings ? WeightRole::kEmbedding : WeightRole::kOutput;
}

}  // namespace

Head::Head(const Model& model, const BlockPlan& plan)
    : Block(plan),
      output_(model.weights().parts({role_of_output(model.config())})),
      norm_(model.weights().vector({WeightRole::kOutputNorm})) {
  for (const PackedMatrix& part : output_) loads_.push_back({part.n_tiles, part.tile_bytes});
  phases_ = {{.name = "head",
              .deal = [this](Pass& pass, const cpu::Member& member) { deal_logits(pass, member); },
              .work =
                  [this](const Pass& pass) {
                    Work work;
                    for (const PackedMatrix& part : output_) work.bytes += part.slice_bytes();
                    return pass.logit_rows.empty() ? Work{} : work;
                  },
              .taps = {{role_of_output(model.config()), [](const Pass& pass, const RowSink& sink) {
                          for (const std::int32_t k : pass.logit_rows)
                            sink(0, pass.buffer(RowBuffer::kHeadInput).row(k));
                        }}}}};
}

void Head::add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  demand.rows(RowBuffer::kHeadInput, sizes.micro_batch, plan.config.hidden_size);
  demand.read_by(RowBuffer::kHeadInput, PlannedWeights(plan, block)[role_of_output(plan.config)]);
}

void Head::deal_logits(const Pass& pass, const cpu::Member& member) const {
  if (pass.logit_rows.empty()) return;
  const Activations& input = pass.buffer(RowBuffer::kHeadInput);
  deal_tiles(member, loads_, [&](std::size_t p, const cpu::Range& tiles) {
    const PackedMatrix& part = output_[p];
    const cpu::ActFormat format = part.layout->act;
    multiply({.weight = part,
              .tile_begin = tiles.begin,
              .tile_end = tiles.end,
              .acts = input.data(format),
              .act_stride = input.stride(format),
              .act_rows = pass.logit_rows.data(),
              .n_acts = static_cast<std::int64_t>(pass.logit_rows.size()),
              .out = pass.logits + part.row_begin,
              .out_stride = pass.config.vocab_size,
              .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul)});
  });
}

}  // namespace dodeca::runtime
