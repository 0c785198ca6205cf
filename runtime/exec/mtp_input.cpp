#include "runtime/exec/mtp_input.hpp"

#include "cpu/kernels/norm/norm.hpp"

namespace dodeca::runtime::exec {
namespace {

using enum WeightRole;

// Files may keep an embedding for these layers alone; it is the model's own otherwise.
WeightId embedding_of(const Model& model, std::int64_t layer) {
  const WeightId own{kMtpEmbedding, layer};
  return model.weights().rows(own) != nullptr ? own : WeightId{kEmbedding};
}

}  // namespace

MtpInput::MtpInput(const Model& model, const BlockPlan& plan)
    : Block(plan),
      tokens_(model, embedding_of(model, plan.layer)),
      rotation_(model.config()),
      token_norm_(model.weights().vector({kMtpEmbeddingNorm, plan.layer})),
      hidden_norm_(model.weights().vector({kMtpHiddenNorm, plan.layer})),
      projection_(model.weights().parts({kMtpProjection, plan.layer})) {
  for (const PackedMatrix& part : projection_) loads_.push_back(load_of(part));
  phases_ = {
      {.name = "draft embedding",
       .deal =
           [this](Pass& pass, const cpu::Member& member) {
             const cpu::Range mine = member.part(pass.n());
             for (std::int64_t i = mine.begin; i < mine.end; ++i) join(pass, member, i);
           },
       .work = [this](const Pass& pass) { return Work{static_cast<std::uint64_t>(pass.n()) * tokens_.row_bytes()}; }},
      {.name = "draft projection",
       .loads = [this](const Pass&) { return std::span<const TileLoad>(loads_); },
       .run =
           [this](Pass& pass, const cpu::Member& member, std::size_t part, const cpu::Range& tiles) {
             project(pass, member,
                     {.weight = projection_[part],
                      .tiles = tiles,
                      .acts = RowBuffer::kMtpInput,
                      .out = RowBuffer::kResidual});
           },
       .work =
           [this](const Pass&) {
             Work work;
             for (const PackedMatrix& part : projection_) work.bytes += part.slice_bytes();
             return work;
           }}};
}

void MtpInput::add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  const PlannedWeights weights(plan, block);
  demand.rows(RowBuffer::kMtpInput, sizes.micro_batch, 2 * plan.config.hidden_size);
  demand.read_by(RowBuffer::kMtpInput, weights[kMtpProjection]);
  TokenRows::add_demand(weights[kMtpEmbedding], demand);
}

void MtpInput::join(const Pass& pass, const cpu::Member& member, std::int64_t i) const {
  const std::int64_t hidden = pass.config.hidden_size;
  const auto eps = static_cast<float>(pass.config.rms_norm_eps);
  Activations& input = pass.buffer(RowBuffer::kMtpInput);
  float* row = input.row(i);
  tokens_.look_up(pass, member, pass.row(i).token, row);
  cpu::rms_norm(row, token_norm_.data(), hidden, eps, row, pass.isa);
  cpu::rms_norm(pass.hidden.data() + i * hidden, hidden_norm_.data(), hidden, eps, row + hidden, pass.isa);
  input.quantize(i, 2 * hidden, pass.isa);
  rotation_.rotate(pass, i);
}

}  // namespace dodeca::runtime::exec
