// Experts with slots on a card, and experts that are added one layer later.
#include "runtime/predict/card_time.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "runtime/predict/calibration.hpp"
#include "runtime/predict/catalogue.hpp"
#include "runtime/predict/prediction.hpp"
#include "tests/runtime/predict/planned.hpp"

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::runtime::predict;

namespace {

// On the processors only reading takes time; on the card nothing but what a test gives it.
struct Hybrid {
  Plan plan = planned("deepseek-v3", "ud-q2_k_xl"), placed = plan;
  MachineSpec machine = find_machine("epyc-9554");
  CardSpec card = find_card("rtx-4090");
  device::Offload offload;

  explicit Hybrid(const device::OffloadOptions& options) {
    offload = device::place_blocks(placed, card.device(), options, {});
    machine.read_gb_s = figure(100);
    machine.core_gb_s = machine.complex_gb_s = figure(1e6);
    for (auto& [type, rates] : machine.rates.types) rates = {.one_row = 1e9, .eight_rows = 1e9, .many_rows = 1e9};
    card.gb_per_s = card.f16_tflops = figure(1e9);
    card.launch_us = card.round_trip_us = figure(1e-9);
  }
  StepTime step(const HotHits& hot = {}, std::int64_t n_rows = 1) const {
    return step_time_with_card(plan, placed, machine, card, 1152, {.n_threads = 64, .n_rows = n_rows, .hot = hot});
  }
  double experts_seconds(std::int64_t n_rows = 1) const {  // of all layers
    return experts_time(plan, machine, {.n_threads = 64, .n_rows = n_rows}).split.of(Bound::kNodeBandwidth);
  }
};

}  // namespace

TEST_CASE("what slots serve, uniform, published and given") {
  CHECK(HotHits{}.of(32, 256) == close_to(0.125));
  const HotHits published{.kind = HotHits::Kind::kPublished};
  CHECK(published.of(0, 256) == 0);
  CHECK(published.of(256, 256) == close_to(1));
  CHECK(published.of(11, 256) > 0.08);  // published: 8 to 18 % with 11.5 slots of 256
  CHECK(published.of(12, 256) < 0.18);
  CHECK(published.of(32, 256) == close_to(std::pow(0.125, kPublishedHitsPower)));
  CHECK(HotHits{.kind = HotHits::Kind::kGiven, .given = 0.3}.of(1, 256) == close_to(0.3));
}

TEST_CASE("experts with slots are not read from memory, as often as slots are hit") {
  const Hybrid h({.n_cpu_moe = 58 + 3, .hot_experts = true});
  REQUIRE(h.offload.n_hot_layers == 58);
  REQUIRE(h.offload.n_hot_slots > 0);
  const auto memory = [&](double hits, std::int64_t n_rows = 1) {
    return h.step({.kind = HotHits::Kind::kGiven, .given = hits}, n_rows).split.of(Bound::kNodeBandwidth);
  };
  CHECK(memory(0) - memory(0.25) == close_to(0.25 * h.experts_seconds()).epsilon(1e-6));
  CHECK(h.step().split.of(Bound::kNodeBandwidth) ==
        close_to(memory(static_cast<double>(h.offload.n_hot_slots) / 256)).epsilon(1e-9));
  // What the processors do not read, the card does.
  const StepTime none = h.step({.kind = HotHits::Kind::kGiven}),
                 quarter = h.step({.kind = HotHits::Kind::kGiven, .given = 0.25});
  CHECK(none.bytes - quarter.bytes == close_to(quarter.card_bytes - none.card_bytes).epsilon(1e-3));
  // Slots compute passes of few rows alone.
  CHECK(memory(0, 9) == memory(0.25, 9));
}

TEST_CASE("late experts hide behind the card's attention, as far as that goes") {
  const device::OffloadOptions on_time{.n_cpu_moe = 61}, deferring{.n_cpu_moe = 61, .n_deferred = 2};
  Hybrid now(on_time), late(deferring);
  REQUIRE(late.offload.n_deferring == 57);                   // the last layer has nobody behind it
  const double quarter = 0.25 * now.experts_seconds() / 58;  // 2 of 8 experts of a layer
  for (Hybrid* h : {&now, &late}) h->card.launch_us = figure(1e6 * 2 * quarter / kCardAttentionKernels);
  // The card takes twice as long for attention as they need: nothing of them is left.
  CHECK(now.step().split.sum() - late.step().split.sum() == close_to(57 * quarter).epsilon(1e-3));
  // Twice as fast as they are: half of them is hidden, and two more phases of a layer are paid for.
  for (Hybrid* h : {&now, &late}) h->card.launch_us = figure(1e6 * 0.5 * quarter / kCardAttentionKernels);
  const double extra = 57 * 2 *
                       (now.machine.barrier_seconds(64) + kPhaseStart + kFinishRow / 64 + kPulledLines +
                        kAlonePhase * now.machine.rates.clock_ghz / now.machine.clock_ghz.value);
  CHECK(now.step().split.sum() - late.step().split.sum() + extra == close_to(57 * 0.5 * quarter).epsilon(1e-3));
  // Nine rows defer nothing.
  CHECK(now.step({}, 9).split.sum() == close_to(late.step({}, 9).split.sum()));
}
