#include "runtime/exec/embedding.hpp"

#include <algorithm>

namespace dodeca::runtime::exec {

Embedding::Embedding(const Model& model, const BlockPlan& plan)
    : Block(plan), tokens_(model, {WeightRole::kEmbedding}), rotation_(model.config()) {
  phases_ = {
      {.name = "embedding",
       .deal =
           [this](Pass& pass, const cpu::Member& member) {
             const cpu::Range mine = member.part(pass.n());
             for (std::int64_t i = mine.begin; i < mine.end; ++i) {
               float* out = pass.buffer(RowBuffer::kResidual).row(i);
               if (pass.hidden.empty())
                 tokens_.look_up(pass, member, pass.row(i).token, out);
               else
                 std::copy_n(pass.hidden.data() + i * pass.config.hidden_size, pass.config.hidden_size, out);
               rotation_.rotate(pass, i);
             }
           },
       .work = [this](const Pass& pass) { return Work{static_cast<std::uint64_t>(pass.n()) * tokens_.row_bytes()}; }}};
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
  TokenRows::add_demand(PlannedWeights(plan, block)[WeightRole::kEmbedding], demand);
}

}  // namespace dodeca::runtime::exec
