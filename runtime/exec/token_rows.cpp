#include "runtime/exec/token_rows.hpp"

#include "cpu/kernels/rope/rope.hpp"
#include "quant/codec.hpp"

namespace dodeca::runtime::exec {

TokenRows::TokenRows(const Model& model, WeightId table)
    : table_(model.weights().rows(table)), tied_(model.weights().parts(table)) {}

void TokenRows::add_demand(const WeightPlan* table, Demand& demand) {
  if (table != nullptr) demand.scratch(ThreadBuffer::kFileRow, *quant::row_bytes(table->dtype, table->n_in));
}

void TokenRows::look_up(const Pass& pass, const cpu::Member& member, std::int64_t token, float* out) const {
  if (table_ != nullptr)
    return quant::decode_row(table_->dtype, table_->data + static_cast<std::size_t>(token) * table_->row_bytes, out,
                             pass.config.hidden_size);
  const PackedMatrix* part = tied_.data();
  while (token >= part->row_begin + part->n_out) ++part;
  part->decode_row(0, token - part->row_begin, pass.space.scratch(member, ThreadBuffer::kFileRow), out);
}

std::size_t TokenRows::row_bytes() const { return table_ != nullptr ? table_->row_bytes : tied_.front().tile_bytes; }

void Rotation::rotate(const Pass& pass, std::int64_t i) const {
  const RopeConfig& rope = pass.config.rope;
  float* angles = pass.space.array<float>(ArrayBuffer::kAngles) + i * rope.dim;
  cpu::rope_angles(pass.row(i).position, inv_freq_, angles);
  if (rope.magnitude == 1.0) return;
  for (std::int64_t j = 0; j < rope.dim; ++j) angles[j] *= static_cast<float>(rope.magnitude);
}

}  // namespace dodeca::runtime::exec
