// Experts in slots of the emulated device, swapped while a run goes on; and experts that are added one layer later.
#include <doctest/doctest.h>

#include "tests/runtime/device/hybrid_fixture.hpp"
#include "tests/support/memory_source.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime;
using namespace dodeca::runtime::exec;

const ExecutorOptions kOptions{.n_positions = 256,
                               .n_sequences = 2,
                               .micro_batch = 16,
                               .cache_type = quant::DType::kF32,
                               .integer_attention = false};

// Kullback-Leibler, of the probabilities that two rows of logits give.
double divergence_of(const std::vector<float>& got, const std::vector<float>& want) {
  const std::size_t n = want.size();
  const double got_first = log_prob(got, n, 0, 0), want_first = log_prob(want, n, 0, 0);
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double p = want_first + want[i] - want[0], q = got_first + got[i] - got[0];
    sum += std::exp(p) * (p - q);
  }
  return sum;
}

// A device with room for what every token reads and `n_slots` slots in each layer.
HybridSetup with_slots(const WeightSource& source, std::int64_t n_slots,
                       const gpu::emulation::EmulationOptions& emulation) {
  HybridSetup setup{
      .plan = {.compute_f32 = true}, .offload = {.hot_experts = true}, .executor = kOptions, .emulation = emulation};
  const int multiprocessors = gpu::emulation::open_emulation({})->info().multiprocessors;
  for (std::uint64_t bytes = 1 << 20;; bytes += 64 << 10) {
    Plan plan = make_plan(source, this_machine(), setup.plan);
    try {
      const device::Offload offload = device::place_blocks(
          plan, {.name = "a card", .memory_bytes = bytes, .free_bytes = bytes, .multiprocessors = multiprocessors},
          setup.offload, {kOptions.sizes(), kOptions.cache_type});
      if (offload.n_layers == 4 && offload.n_hot_slots >= n_slots) {
        CHECK(offload.n_hot_slots == n_slots);
        setup.emulation.memory_limit = bytes;
        return setup;
      }
    } catch (const Error&) {  // not even a layer fits
    }
  }
}

}  // namespace

TEST_CASE("experts come into slots of the device while it generates, and what the model says stays the same") {
  const MemorySource source(small_hybrid_config(), 7);
  cpu::Team team(2);
  const auto model = load_model(source, team, {.compute_f32 = true});
  const std::int64_t n_experts = source.config().n_routed_experts;
  using gpu::emulation::Streams;
  for (const auto& [n_slots, streams] :
       {std::pair{std::int64_t{2}, Streams::kEager}, std::pair{n_experts, Streams::kLate}}) {
    CAPTURE(n_slots);
    const HybridSetup setup = with_slots(source, n_slots, {.streams = streams});
    Executor here(*model, team, kOptions);
    Hybrid hybrid(source, setup), again(source, setup);
    CHECK(hybrid.offload.n_hot_layers == 3);
    CHECK(hybrid.device->memory_used() <= hybrid.offload.bytes());
    ForwardOutput want, got, same;
    for (int step = 0; step < 90; ++step) {
      // One token for a while, then another, whose experts drive out the first one's where there are few slots. Mostly
      // one row; now and then two sequences, a short prompt, or a longer one that does not use the slots.
      std::vector<Row> rows = rows_of({step < 14 ? 3 : 41}, 0, static_cast<std::int32_t>(here.cache().length(0)));
      const int more = step % 9 == 4 ? 1 : step % 9 == 7 ? 3 : step % 27 == 2 ? 7 : step == 30 ? 12 : 0;
      for (int i = 0; i < more; ++i)
        rows.push_back(rows_of({(step + i) % 64}, 1, static_cast<std::int32_t>(here.cache().length(1)) + i).front());
      for (Row& row : rows) row.prompt = more > 1;
      here.forward(rows, want);
      hybrid.executor->forward(rows, got);
      again.executor->forward(rows, same);
      CHECK(largest_difference(got.logits, want.logits) < kRounding);
      CHECK(same_bits(got.logits, same.logits));
    }
    const device::HotExpertTotals totals = hybrid.blocks->hot_experts();
    CHECK(totals.swaps >= 3 * n_slots / 2);
    if (n_slots == 2) CHECK(totals.swaps > 3 * n_slots);  // some came into a slot that another had
    CHECK(totals.on_device > totals.chosen / 10);
    CHECK(totals.on_device < totals.chosen);
    MESSAGE(totals.on_device, " of ", totals.chosen, " choices on the device, ", totals.swaps, " swaps");
  }
}

TEST_CASE("slots for experts take the room that is left, and layers that were asked for whole stay whole") {
  const MemorySource source(small_hybrid_config(), 7);
  const HybridSetup setup = with_slots(source, 3, {});
  Plan plan = make_plan(source, this_machine(), setup.plan);
  const Machine::Device card{.name = "a card",
                             .memory_bytes = setup.emulation.memory_limit * 2,
                             .free_bytes = setup.emulation.memory_limit * 2,
                             .multiprocessors = 4};
  const device::OffloadRun run{kOptions.sizes(), kOptions.cache_type};
  device::Offload offload = device::place_blocks(plan, card, {.n_cpu_moe = 3, .hot_experts = true}, run);
  CHECK(offload.n_expert_layers == 1);
  CHECK(offload.n_hot_layers == 2);
  CHECK(offload.hot_experts > 0);
  CHECK(offload.bytes() <= offload.budget);
  offload = device::place_blocks(plan, card, {.n_cpu_moe = 0, .hot_experts = true}, run);
  CHECK(offload.n_hot_layers == 0);
  CHECK(offload.hot_experts == 0);
}

TEST_CASE("a lost device ends a run with slots for experts") {
  const MemorySource source(small_hybrid_config(), 7);
  HybridSetup setup = with_slots(source, 4, {.lost_at = 900});
  Hybrid hybrid(source, setup);
  ForwardOutput out;
  CHECK_THROWS_WITH_AS(
      for (int step = 0; step < 60; ++step) hybrid.executor->forward(rows_of({step % 64}, 0, step), out),
      doctest::Contains("was lost in kernel"), Error);
}

TEST_CASE("experts that weigh least are added one layer later, each once") {
  MemorySource source(small_hybrid_config(), 21);
  const MemorySource full = source;
  // Where the later layers add nothing of their own, it is the same in which layer a sum is added.
  for (const char* weight : {"blk.2.attn_output.weight", "blk.2.ffn_down_exps.weight", "blk.2.ffn_down_shexp.weight",
                             "blk.3.attn_output.weight", "blk.3.ffn_down_exps.weight", "blk.3.ffn_down_shexp.weight"})
    std::ranges::fill(source.values(weight), 0.0f);
  cpu::Team team(2);
  const auto compare = [&](const WeightSource& weights, std::int64_t n_deferred) {
    const auto model = load_model(weights, team, {.compute_f32 = true});
    Executor here(*model, team, kOptions);
    Hybrid hybrid(weights, {.plan = {.compute_f32 = true},
                            .offload = {.n_cpu_moe = 1000, .n_deferred = n_deferred},
                            .executor = kOptions});
    CHECK(hybrid.offload.n_deferring == (n_deferred > 0 ? 2 : 0));
    ForwardOutput want, got;
    double most = 0;
    for (int step = 0; step < 8; ++step) {
      std::vector<Row> rows = rows_of({step * 11 % 64}, 0, step);
      if (step >= 2) rows.push_back(rows_of({step * 5 % 64}, 1, step - 2).front());
      here.forward(rows, want);
      hybrid.executor->forward(rows, got);
      most = std::max(most, largest_difference(got.logits, want.logits));
    }
    return most;
  };
  CHECK(compare(source, 1) < kRounding);
  CHECK(compare(source, 64) < kRounding);  // all but one
  CHECK(compare(full, 0) < kRounding);
  CHECK(compare(full, 1) > 100 * kRounding);  // it is another model
}

TEST_CASE(
    "a row whose experts are added later does not depend on the rows beside it, whenever the device does its work") {
  const MemorySource source(small_hybrid_config(), 23);
  for (const auto streams : {gpu::emulation::Streams::kLate, gpu::emulation::Streams::kEager}) {
    const HybridSetup setup{.plan = {.compute_f32 = true},
                            .offload = {.n_cpu_moe = 1000, .n_deferred = 1},
                            .executor = kOptions,
                            .emulation = {.streams = streams}};
    Hybrid alone(source, setup), together(source, setup);
    ForwardOutput one, other, two;
    for (int step = 0; step < 16; ++step) {
      // Each sequence alone, then both: an expert may be the lightest of one and not of the other.
      std::vector<Row> rows = rows_of({step * 13 % 64}, 0, step), beside = rows_of({step * 3 % 64}, 1, step);
      alone.executor->forward(rows, one);
      alone.executor->forward(beside, other);
      one.logits.insert(one.logits.end(), other.logits.begin(), other.logits.end());
      rows.push_back(beside.front());
      together.executor->forward(rows, two);
      CHECK(largest_difference(two.logits, one.logits) < kRounding);
    }
  }
}

TEST_CASE("layers whose experts are on the device break the chain of late experts") {
  const MemorySource source(small_hybrid_config(), 25);
  Plan plan = make_plan(source, this_machine(), {.compute_f32 = true});
  const Machine::Device card{
      .name = "a card", .memory_bytes = 8ull << 30, .free_bytes = 8ull << 30, .multiprocessors = 4};
  device::Offload offload = device::place_blocks(
      plan, card, {.n_cpu_moe = 1000, .rules = {{"blk\\.2\\..*exps", Place::kDevice}}, .n_deferred = 1},
      {kOptions.sizes(), kOptions.cache_type});
  CHECK(offload.n_deferring == 0);
  offload =
      device::place_blocks(plan, card, {.n_cpu_moe = 1000, .rules = {{"blk\\.3\\.attn", Place::kCpu}}, .n_deferred = 1},
                           {kOptions.sizes(), kOptions.cache_type});
  CHECK(offload.n_deferring == 1);
}

TEST_CASE("what experts that are added later change in the demo: the mean divergence of the next token") {
  const auto source = open_weights(kDemoModel, {}, kSilent);
  cpu::Team team(2);
  const auto model = load_model(*source, team);
  const ExecutorOptions options{.n_positions = 256, .micro_batch = 16};
  const auto golden = read_golden();
  std::vector<double> divergence;
  for (const std::int64_t n_deferred : {0, 1, 2}) {
    Executor here(*model, team, options);
    Hybrid hybrid(*source, {.offload = {.n_cpu_moe = 1000, .n_deferred = n_deferred}, .executor = options});
    ForwardOutput want, got;
    double sum = 0;
    int n = 0;
    for (const auto& c : golden["cases"]) {
      const auto ids = c["ids"].get<std::vector<int>>();
      here.cache().truncate(0, 0);
      hybrid.executor->cache().truncate(0, 0);
      for (std::size_t i = 0; i < ids.size(); ++i, ++n) {
        const std::vector<Row> row = rows_of({ids[i]}, 0, static_cast<std::int32_t>(i));
        here.forward(row, want);
        hybrid.executor->forward(row, got);
        sum += divergence_of(got.logits, want.logits);
      }
    }
    divergence.push_back(sum / n);
    MESSAGE(n_deferred, " of ", source->config().n_experts_per_tok, " experts later: ", divergence.back(), " over ", n,
            " tokens");
  }
  CHECK(divergence[0] < 1e-4);
  CHECK(divergence[1] > 10 * divergence[0]);
  CHECK(divergence[2] > divergence[1]);
  CHECK(divergence[1] < 0.5);
}
