#include "cpu/kernels/attention/attention.hpp"
#include "runtime/engine/forward_pass.hpp"

namespace dodeca::runtime {

ExecutorPass::ExecutorPass(Executor& executor, cpu::Team& team, cpu::Team& prompt_team)
    : executor_(executor), team_(team), prompt_team_(prompt_team), last_team_(&team) {}

std::int64_t ExecutorPass::vocab_size() const { return executor_.config().vocab_size; }
std::int32_t ExecutorPass::n_sequences() const { return executor_.cache().n_sequences(); }
std::int64_t ExecutorPass::block_positions() const { return cpu::kContextBlock; }
std::int64_t ExecutorPass::free_positions() const { return executor_.cache().free_positions(); }
void ExecutorPass::truncate(std::int32_t sequence, std::int64_t n) { executor_.cache().truncate(sequence, n); }
void ExecutorPass::fork(std::int32_t src, std::int32_t dst, std::int64_t n) { executor_.cache().fork(src, dst, n); }
void ExecutorPass::forward(std::span<const Row> rows, ForwardOutput& out, bool prompt) {
  last_team_ = prompt ? &prompt_team_ : &team_;
  executor_.forward(rows, out, last_team_);
}
cpu::Team* ExecutorPass::team() { return last_team_; }

}  // namespace dodeca::runtime
