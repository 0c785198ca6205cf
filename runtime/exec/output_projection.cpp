#include "runtime/exec/output_projection.hpp"

#include "runtime/exec/ffn_products.hpp"
#include "runtime/exec/multiply.hpp"

namespace dodeca::runtime {

void demand_output_projection(const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  if (block.n_parts() > 1) demand.products(sizes.micro_batch);
}

void quantize_heads(const Pass& pass, std::span<const PackedMatrix> output, std::int64_t i) noexcept {
  for (std::size_t p = 0; p < output.size(); ++p) {
    if (output[p])
      pass.buffer(RowBuffer::kHeads).quantize(static_cast<std::int64_t>(p) * pass.n() + i, output[p].n_in, pass.isa);
  }
}

void project_heads(const Pass& pass, const cpu::Member& member, std::span<const PackedMatrix> output,
                   std::span<const float> bias) noexcept {
  const cpu::Range tiles = member.part(output.front().n_tiles);
  if (output.size() == 1) {
    project(pass, member, {output.front(), tiles, RowBuffer::kHeads, RowBuffer::kOutput});
  } else if (clear_own_columns(pass, member)) {
    for (std::size_t p = 0; p < output.size(); ++p) {
      if (!output[p]) continue;
      add_down(pass, member,
               {.down = output[p],
                .tiles = tiles,
                .slots = {0, pass.n()},
                .hidden = RowBuffer::kHeads,
                .hidden_offset = static_cast<std::int64_t>(p) * pass.n()});
    }
  }
  if (bias.empty()) return;
  const cpu::Range columns = own_columns(member, pass.config.hidden_size);
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    float* out = pass.buffer(RowBuffer::kOutput).row(i);
    for (std::int64_t j = columns.begin; j < columns.end; ++j) out[j] += bias[j];
  }
}

}  // namespace dodeca::runtime
