#include "runtime/exec/elsewhere.hpp"

#include "runtime/exec/ffn_products.hpp"

namespace dodeca::runtime::exec {

void add_own_columns(const Pass& pass, const cpu::Member& member, const Activations& rows) noexcept {
  if (!pass.crews.place(member).has(0)) return;
  const cpu::Range columns = own_columns(pass, member);
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    float* out = pass.buffer(RowBuffer::kOutput).row(i);
    const float* add = rows.row(i);
    for (std::int64_t j = columns.begin; j < columns.end; ++j) out[j] += add[j];
  }
}

RemoteBlock::RemoteBlock(const BlockPlan& plan, std::span<const float> norm, std::unique_ptr<Elsewhere> place)
    : Block(plan), norm_(norm), place_(std::move(place)) {
  phases_ = {{.name = "elsewhere",
              .deal =
                  [this](Pass& pass, const cpu::Member& member) {
                    if (member.index != 0) return;
                    place_->submit(pass);
                    place_->wait();
                  }},
             {.name = "take back", .deal = [this](Pass& pass, const cpu::Member& member) {
                clear_own_columns(pass, member);
                add_own_columns(pass, member, place_->output());
              }}};
}

}  // namespace dodeca::runtime::exec
