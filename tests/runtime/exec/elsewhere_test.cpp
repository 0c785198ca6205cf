// A block may run on another team, with memory of its own and at its own pace: rows go in by submit() and come out
// behind wait(), and no bit changes.
#include "runtime/exec/elsewhere.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include "runtime/exec/moe_ffn.hpp"
#include "tests/runtime/exec/exec_fixture.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime;
using namespace dodeca::runtime::exec;

// Runs a block on a team of its own, in the background, after a random delay.
class OtherTeam final : public Elsewhere {
 public:
  OtherTeam(const Model& model, std::unique_ptr<Block> block, const RunSizes& sizes, cpu::Team& team, unsigned seed)
      : model_(model), block_(std::move(block)), space_(demand_of(model.plan(), sizes)), team_(team), random_(seed) {
    space_.ensure_threads(team.size());
    driver_ = std::thread([this] { drive(); });
  }
  ~OtherTeam() override {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    changed_.notify_all();
    driver_.join();
  }

  void submit(const Pass& pass) override {
    space_.rows(RowBuffer::kInput).copy(pass.buffer(RowBuffer::kInput), pass.n());
    std::memcpy(space_.array<std::byte>(ArrayBuffer::kAngles), pass.space.array<std::byte>(ArrayBuffer::kAngles),
                space_.array_bytes(ArrayBuffer::kAngles));
    {
      const std::lock_guard lock(mutex_);
      pass_.emplace(model_.config(), model_.isa(), pass.cache, space_,
                    team_.crews(static_cast<int>(model_.plan().options.shares.size())), pass.rows);
      busy_ = true;
    }
    changed_.notify_all();
  }
  void wait() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !busy_; });
  }
  const Activations& output() const override { return const_cast<Workspace&>(space_).rows(RowBuffer::kOutput); }

 private:
  void drive() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return busy_ || closing_; });
      if (closing_) return;
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::microseconds(random_() % 300));
      team_.run([&](const cpu::Member& member) { run_block(*block_, *pass_, member); });
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }

  const Model& model_;
  std::unique_ptr<Block> block_;
  Workspace space_;
  cpu::Team& team_;
  std::mt19937 random_;
  std::optional<Pass> pass_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool busy_ = false, closing_ = false;
  std::thread driver_;
};

}  // namespace

TEST_CASE("attention and the shared expert run on a second team with the same bits") {
  LoadedDemo demo({});
  const Model& model = *demo.model;
  const int vocab = static_cast<int>(model.config().vocab_size);
  const std::vector<int> ids = some_ids(70, vocab);
  Executor here(model, demo.team, {.n_positions = 256});
  cpu::Team other(2), third(1);
  unsigned seed = 1;
  ExecutorOptions options{.n_positions = 256};
  const RunSizes sizes = options.sizes();
  options.replace = [&](std::unique_ptr<Block> block) -> std::unique_ptr<Block> {
    const BlockPlan& plan = block->plan();
    if (plan.kind == BlockKind::kMlaAttention) {
      const std::span<const float> norm = block->norm();
      return std::make_unique<RemoteBlock>(plan, norm,
                                           std::make_unique<OtherTeam>(model, std::move(block), sizes, other, seed++));
    }
    if (plan.kind == BlockKind::kMoeFfn)
      static_cast<MoeFfn&>(*block).set_shared_elsewhere(std::make_unique<OtherTeam>(
          model, std::make_unique<DenseFfn>(model, plan, DenseFfn::kShared), sizes, third, seed++));
    return block;
  };
  Executor apart(model, demo.team, options);
  CHECK(same_bits(logits_of(here, prompt_of(ids)), logits_of(apart, prompt_of(ids))));
  ForwardOutput want, got;
  for (int step = 0; step < 12; ++step) {  // one row at a time
    const std::vector<Row> row = rows_of({step * 7 % vocab}, 0, 70 + step);
    here.forward(row, want);
    apart.forward(row, got);
    CHECK(same_bits(want.logits, got.logits));
  }
}
