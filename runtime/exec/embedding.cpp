#include "runtime/exec/embedding.hpp"

#include <algorithm>

#include "cpu/kernels/rope/rope.hpp"
#include "quant/codec.hpp"

namespace dodeca::runtime::exec {

Embedding::Embedding(const Model& model, const BlockPlan& plan)
    : Block(plan),
      table_(model.weights().rows({WeightRole::kEmbedding})),
      tied_(model.weights().parts({WeightRole::kEmbedding})),
      inv_freq_(model.config().inv_freq()) {
  phases_ = {{.name = "embedding",
              .deal =
                  [this](Pass& pass, const cpu::Member& member) {
                    const cpu::Range mine = member.part(pass.n());
                    for (std::int64_t i = mine.begin; i < mine.end; ++i) {
                      if (pass.hidden.empty())
                        look_up(pass, member, i);
                      else
                        std::copy_n(pass.hidden.data() + i * pass.config.hidden_size, pass.config.hidden_size,
                                    pass.buffer(RowBuffer::kResidual).row(i));
                      rotate(pass, i);
                    }
                  },
              .work =
                  [this](const Pass& pass) {
                    const std::size_t row = table_ != nullptr ? table_->row_bytes : tied_.front().tile_bytes;
                    return Work{static_cast<std::uint64_t>(pass.n()) * row};
                  }}};
}

void Embedding::add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  const ModelConfig& c = plan.config;
  demand.rows(RowBuffer::kResidual, sizes.micro_batch, c.hidden_size);
  demand.rows(RowBuffer::kInput, sizes.micro_batch, c.hidden_size);
  demand.part_rows(RowBuffer::kOutput, sizes.micro_batch, c.hidden_size);
  demand.array(ArrayBuffer::kSquares, sizes.micro_batch * blocks_of(std::max(c.hidden_size, c.q_lora_rank)),
               sizeof(float));
  demand.blocks(blocks_of(c.hidden_size));
  demand.array(ArrayBuffer::kAngles, sizes.micro_batch * c.rope.dim, sizeof(float));
  if (const WeightPlan* w = PlannedWeights(plan, block)[WeightRole::kEmbedding])
    demand.scratch(ThreadBuffer::kFileRow, *quant::row_bytes(w->dtype, w->n_in));
}

void Embedding::look_up(const Pass& pass, const cpu::Member& member, std::int64_t i) const {
  const std::int64_t token = pass.row(i).token;
  float* out = pass.buffer(RowBuffer::kResidual).row(i);
  if (table_ != nullptr)
    return quant::decode_row(table_->dtype, table_->data + static_cast<std::size_t>(token) * table_->row_bytes, out,
                             pass.config.hidden_size);
  const PackedMatrix* part = tied_.data();
  while (token >= part->row_begin + part->n_out) ++part;
  part->decode_row(0, token - part->row_begin, pass.space.scratch(member, ThreadBuffer::kFileRow), out);
}

void Embedding::rotate(const Pass& pass, std::int64_t i) const {
  const RopeConfig& rope = pass.config.rope;
  float* angles = pass.space.array<float>(ArrayBuffer::kAngles) + i * rope.dim;
  cpu::rope_angles(pass.row(i).position, inv_freq_, angles);
  if (rope.magnitude == 1.0) return;
  for (std::int64_t j = 0; j < rope.dim; ++j) angles[j] *= static_cast<float>(rope.magnitude);
}

}  // namespace dodeca::runtime::exec
