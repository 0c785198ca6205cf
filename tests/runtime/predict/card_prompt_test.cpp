// Prompts beside a card to which experts stream, by the program's own schedule and a virtual clock.
#include "runtime/predict/card_prompt.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "runtime/device/streamed_experts.hpp"
#include "runtime/predict/catalogue.hpp"
#include "tests/runtime/predict/planned.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::runtime::predict;

struct Streamed {
  Plan plan = planned("deepseek-v3", "ud-q2_k_xl"), placed = plan;
  MachineSpec machine = find_machine("epyc-9554");
  CardSpec card;
  std::optional<device::StreamSpeeds> speeds;
  device::Offload offload;

  explicit Streamed(const char* name, std::int64_t micro_batch, bool streams = true) : card(find_card(name)) {
    speeds = stream_speeds(plan, machine, card, 64);
    REQUIRE(speeds);
    if (!streams) speeds.reset();
    offload =
        device::place_blocks(placed, card.device(), {.n_cpu_moe = 1000, .stream_speeds = speeds},
                             {{.micro_batch = micro_batch, .n_positions = 8192, .n_sequences = 1}, quant::DType::kI8});
  }
  CardPrompt pass(std::int64_t n_rows, std::int64_t depth = 0) const {
    return card_prompt(plan, {placed, card, offload}, machine, {.n_threads = 64, .n_rows = n_rows, .depth = depth});
  }
};

}  // namespace

TEST_CASE("the clock begins a step when its actor is free and what it waits for has ended") {
  using device::StreamActor;
  using device::StreamWork;
  const std::vector<device::StreamStep> steps = {
      {.actor = StreamActor::kDevice, .work = StreamWork::kRoute, .layer = 0, .after = {}},
      {.actor = StreamActor::kHost, .work = StreamWork::kExperts, .layer = 0, .after = {0}},
      {.actor = StreamActor::kLink, .work = StreamWork::kCopy, .layer = 0, .wave = 0, .buffer = 0, .after = {0}},
      {.actor = StreamActor::kDevice, .work = StreamWork::kShared, .layer = 0, .after = {}},
      {.actor = StreamActor::kDevice, .work = StreamWork::kMultiply, .layer = 0, .wave = 0, .buffer = 0, .after = {2}},
      {.actor = StreamActor::kDevice, .work = StreamWork::kMerge, .layer = 0, .after = {1}}};
  const double seconds[] = {2, 7, 3, 1, 1.5, 0.5};
  std::size_t next = 0;
  const std::vector<StreamSpan> spans = run_clock(steps, [&](const device::StreamStep&) { return seconds[next++]; });
  const double begins[] = {0, 2, 2, 2, 5, 9}, ends[] = {2, 9, 5, 3, 6.5, 9.5};
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(spans[i].begin == doctest::Approx(begins[i]));
    CHECK(spans[i].end == doctest::Approx(ends[i]));
  }
}

TEST_CASE("streaming is never slower than the processors alone, and gains with the rows and with the link") {
  double last = 0;
  for (const std::int64_t rows : {64, 256, 1024, 2048}) {
    const Streamed with("rtx-4090", 2048), without("rtx-4090", 2048, false);
    const double streamed = static_cast<double>(rows) / with.pass(rows).split.sum(),
                 alone = static_cast<double>(rows) / without.pass(rows).split.sum();
    CHECK(streamed >= alone * 0.999);
    CHECK(streamed >= last);
    last = streamed;
    // It was decided to stream for a tenth of the experts' time at least.
    if (rows == 2048) CHECK(streamed > alone);
  }
  CHECK(Streamed("h100", 2048).pass(2048).split.sum() < Streamed("rtx-3090", 2048).pass(2048).split.sum());
}

TEST_CASE("a pass lasts at least as long as each actor works, and every layer's parts add up") {
  const Streamed v3("rtx-4090", 2048);
  const CardPrompt pass = v3.pass(2048);
  REQUIRE(pass.steps.size() == pass.spans.size());
  const double seconds = pass.split.sum();
  for (const double busy : pass.busy) {
    CHECK(busy > 0);
    CHECK(busy <= seconds);
  }
  // And not longer than the layers would one after the other, link, card and processors side by side in each alone.
  using device::StreamWork;
  std::array<double, device::kStreamWorks> sums = {};
  double apart = 0;
  for (std::size_t i = 0; i < pass.steps.size(); ++i) {
    sums[static_cast<std::size_t>(pass.steps[i].work)] += pass.spans[i].end - pass.spans[i].begin;
    if (pass.steps[i].work != StreamWork::kMerge) continue;
    const auto of = [&](StreamWork work) { return sums[static_cast<std::size_t>(work)]; };
    apart += of(StreamWork::kRoute) + of(StreamWork::kShared) + of(StreamWork::kMerge) +
             std::max(of(StreamWork::kExperts), of(StreamWork::kCopy) + of(StreamWork::kMultiply));
    sums = {};
  }
  CHECK(pass.spans.back().end < apart);
  CHECK(std::ranges::count(pass.steps, StreamWork::kRoute, &device::StreamStep::work) == 58);
  CHECK(pass.streamed_experts > 32);
  CHECK(pass.streamed_experts < 256);
  // The link carries these bytes in the time that it works.
  const double link = pass.busy[static_cast<std::size_t>(device::StreamActor::kLink)];
  CHECK(pass.streamed_bytes / link == close_to(31.5e9 * 0.8));
  // Too few rows: nothing streams.
  CHECK(v3.pass(8).steps.empty());
  CHECK(least_streamed_rows(v3.placed, v3.offload) > 8);
}

TEST_CASE("models without routed experts have no speeds of streaming") {
  CHECK_FALSE(
      stream_speeds(planned("llama-3.1-405b", "ud-q2_k_xl"), find_machine("epyc-9554"), find_card("rtx-4090"), 64));
}
