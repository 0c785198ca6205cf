#include <algorithm>

#include "cpu/kernels/attention/attention.hpp"
#include "runtime/engine/forward_pass.hpp"

namespace dodeca::runtime::engine {
namespace {

constexpr std::chrono::milliseconds kSpinPerPoll{2};

}  // namespace

ExecutorPass::ExecutorPass(exec::Executor& executor, cpu::Team& team, cpu::Team& prompt_team, int poll)
    : executor_(executor), team_(team), prompt_team_(prompt_team), last_team_(&team), awake_(poll * kSpinPerPoll) {}

std::int64_t ExecutorPass::vocab_size() const { return executor_.config().vocab_size; }
std::int32_t ExecutorPass::n_sequences() const { return executor_.cache().n_sequences(); }
std::int64_t ExecutorPass::block_positions() const { return cpu::kContextBlock; }
std::int64_t ExecutorPass::free_positions() const { return executor_.cache().free_positions(); }
void ExecutorPass::truncate(std::int32_t sequence, std::int64_t n) { executor_.cache().truncate(sequence, n); }
void ExecutorPass::fork(std::int32_t src, std::int32_t dst, std::int64_t n) { executor_.cache().fork(src, dst, n); }
cpu::Team* ExecutorPass::team() { return last_team_; }

std::int64_t ExecutorPass::hidden_size() const { return executor_.can_draft() ? executor_.config().hidden_size : 0; }

cpu::Team* ExecutorPass::wake(bool prompt) {
  last_team_ = prompt ? &prompt_team_ : &team_;
  // The teams share processors: members of one that spin would slow the other down.
  cpu::Team& other = prompt ? team_ : prompt_team_;
  if (&other != last_team_) other.set_idle_spin(std::chrono::microseconds(0));
  last_team_->set_idle_spin(awake_);
  return last_team_;
}

void ExecutorPass::forward(std::span<const exec::Row> rows, exec::ForwardOutput& out, bool prompt) {
  executor_.forward(rows, out, wake(prompt));
}

void ExecutorPass::draft(std::span<const exec::Row> rows, std::span<const float> hidden, exec::ForwardOutput& out,
                         bool prompt) {
  executor_.draft(rows, hidden, out, wake(prompt));
}

void ExecutorPass::rest() {
  for (cpu::Team* team : {&team_, &prompt_team_})
    team->set_idle_spin(std::min<std::chrono::microseconds>(awake_, cpu::Team::kIdleSpin));
}

}  // namespace dodeca::runtime::engine
