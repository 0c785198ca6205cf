// What a card takes of a model never exceeds what it may, and what is given up is said.
#include "runtime/device/offload.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <utility>

#include "runtime/base/error.hpp"
#include "runtime/device/hot_experts.hpp"
#include "runtime/model/random_source.hpp"
#include "runtime/model/shapes.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::runtime;
using device::Offload;
using device::OffloadOptions;
using device::OffloadRun;
using quant::DType;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

DType some_type(const WantedWeight& w) {
  if (w.id.role == WeightRole::kRouter) return DType::kF32;
  return w.n_in % 256 == 0 ? (is_routed(w.id.role) ? DType::kQ4_K : DType::kQ6_K) : DType::kQ8_0;
}

Plan plan_of(const std::string& shape) {
  const ModelConfig c = published_shape(shape);
  return make_plan(c, random_weight_infos(c, some_type), {},
                   machine_of(cpu::synthetic_topology("package:1 l3:1 core:4 pu:1"), 1 << 30), {});
}

Machine::Device card(std::uint64_t gib) { return {"a card", gib * kGiB, gib * kGiB, 82}; }

OffloadRun run_of(std::int64_t context) {
  return {.sizes = {.micro_batch = 512, .n_positions = context, .n_sequences = 1}};
}

const BlockPlan& block_of(const Plan& plan, BlockKind kind, std::int64_t layer = kNoLayer) {
  return *std::ranges::find_if(plan.blocks, [&](const BlockPlan& b) { return b.kind == kind && b.layer == layer; });
}

std::int64_t n_on_device(const Plan& plan, BlockKind kind) {
  return std::ranges::count_if(plan.blocks,
                               [&](const BlockPlan& b) { return b.kind == kind && b.place == Place::kDevice; });
}

}  // namespace

TEST_CASE("what is placed on a device fits it, whatever the model, the context and the device") {
  int n_fit = 0;
  for (const std::string& shape : shape_names()) {
    for (const std::int64_t context : {4096, 32768, 131072}) {
      for (const std::uint64_t gib : {4, 6, 8, 12, 16, 24, 32, 48, 80}) {
        Plan plan = plan_of(shape);
        Offload result;
        try {
          result = place_blocks(plan, card(gib), {}, run_of(context));
        } catch (const Error& error) {
          CHECK(error.kind() == ErrorKind::kDoesNotFit);
          continue;
        }
        CHECK(result.bytes() <= result.budget);
        ++n_fit;
        CHECK(result.margin == std::min<std::uint64_t>(512 << 20, gib * kGiB / 16));
        CHECK(result.budget == gib * kGiB - result.margin);
        // Counted once more from what the plan says.
        std::uint64_t weights = 0;
        for (const BlockPlan& block : plan.blocks) {
          CHECK_FALSE(block.reason.empty());
          for (const std::size_t w : block.weights) {
            const bool expert = is_routed(plan.weights[w].id.role);
            if ((expert ? block.experts_place : block.place) == Place::kDevice)
              weights += device::device_weight_bytes(plan.weights[w]);
          }
        }
        CHECK(weights + result.decompression == result.weights + result.experts);
        std::uint64_t in_memory = 0;
        for (const WeightPlan& w : plan.weights) in_memory += w.place == Place::kCpu ? w.bytes : 0;
        CHECK(in_memory == plan.bytes);
        CHECK(n_on_device(plan, BlockKind::kMlaAttention) == result.n_layers);
      }
    }
  }
  CHECK(n_fit >= 100);
}

TEST_CASE("slots for experts fill what is left of a device, and not more") {
  int n_with_slots = 0;
  for (const std::string& shape : shape_names()) {
    for (const std::uint64_t gib : {8, 24, 48, 80}) {
      Plan plan = plan_of(shape);
      Offload result;
      try {
        result = place_blocks(plan, card(gib), {.hot_experts = true}, run_of(8192));
      } catch (const Error&) {
        continue;
      }
      CHECK(result.bytes() <= result.budget);
      CHECK(result.hot_experts == device::hot_expert_bytes(plan));
      CHECK(result.n_expert_layers == 0);
      if (result.n_hot_layers == 0) continue;
      ++n_with_slots;
      std::uint64_t one_more = 0;  // expert in every layer
      for (const BlockPlan& block : plan.blocks) {
        if (block.n_hot_experts == 0) continue;
        CHECK(block.experts_place == Place::kCpu);
        CHECK(block.n_hot_experts == result.n_hot_slots);
        for (const std::size_t w : block.weights) {
          const WeightPlan& weight = plan.weights[w];
          if (is_routed(weight.id.role))
            one_more += device::device_weight_bytes(weight) / static_cast<std::uint64_t>(weight.n_slices);
        }
      }
      if (result.n_hot_slots < plan.config.n_routed_experts) CHECK(result.bytes() + one_more > result.budget);
    }
  }
  CHECK(n_with_slots >= 10);
}

TEST_CASE(
    "a card of 24 GiB takes everything of V3 that is always read; smaller ones give up one thing after the other") {
  Plan plan = plan_of("deepseek-v3");
  const Offload all = place_blocks(plan, card(24), {}, run_of(8192));
  CHECK(all.n_layers == 61);
  CHECK(all.given_up.empty());
  CHECK(all.cache_type == DType::kF16);
  CHECK(block_of(plan, BlockKind::kHead).place == Place::kDevice);
  CHECK(block_of(plan, BlockKind::kEmbedding).place == Place::kCpu);
  CHECK(block_of(plan, BlockKind::kMoeFfn, 5).place == Place::kDevice);
  CHECK(block_of(plan, BlockKind::kMoeFfn, 5).experts_place == Place::kCpu);

  Plan long_context = plan_of("deepseek-v3");
  const Offload with_bytes = place_blocks(long_context, card(24), {}, run_of(200000));
  CHECK(with_bytes.cache_type == DType::kI8);
  CHECK_FALSE(with_bytes.given_up.empty());

  Plan small = plan_of("deepseek-v3");
  const Offload some = place_blocks(small, card(8), {}, run_of(8192));
  CHECK(some.n_layers < 61);
  CHECK(some.n_layers > 20);
  CHECK(block_of(small, BlockKind::kHead).place == Place::kCpu);
  CHECK(block_of(small, BlockKind::kDenseFfn, 0).place == Place::kCpu);
  CHECK(block_of(small, BlockKind::kMlaAttention, 0).place == Place::kCpu);
  CHECK(block_of(small, BlockKind::kMlaAttention, 60).place == Place::kDevice);
  CHECK(some.given_up.back().find("run on the processors") != std::string::npos);
  CHECK(some.given_up.back().find("GiB") != std::string::npos);
}

TEST_CASE("room that is left takes the experts of whole layers, the last ones first") {
  Plan plan = plan_of("deepseek-v2-lite");
  const Offload result = place_blocks(plan, card(8), {}, run_of(4096));
  CHECK(result.n_layers == 27);
  CHECK(result.n_expert_layers > 0);
  CHECK(result.n_expert_layers < 26);
  CHECK(block_of(plan, BlockKind::kMoeFfn, 26).experts_place == Place::kDevice);
  CHECK(block_of(plan, BlockKind::kMoeFfn, 1).experts_place == Place::kCpu);
}

TEST_CASE("layers and experts by number are as asked, or refused with what they need") {
  Plan plan = plan_of("deepseek-v2-lite");
  const Offload five = place_blocks(plan, card(24), {.n_layers = 5, .n_cpu_moe = 25}, run_of(4096));
  CHECK(five.n_layers == 4);  // and the head
  CHECK(block_of(plan, BlockKind::kHead).place == Place::kDevice);
  CHECK(block_of(plan, BlockKind::kMlaAttention, 22).place == Place::kCpu);
  CHECK(block_of(plan, BlockKind::kMlaAttention, 23).place == Place::kDevice);
  CHECK(block_of(plan, BlockKind::kMoeFfn, 24).experts_place == Place::kCpu);
  CHECK(block_of(plan, BlockKind::kMoeFfn, 25).experts_place == Place::kDevice);

  Plan none = plan_of("deepseek-v2-lite");
  CHECK_FALSE(place_blocks(none, card(24), {.n_layers = 0}, run_of(4096)).any());

  Plan v3 = plan_of("deepseek-v3");
  for (const OffloadOptions& options : {OffloadOptions{.n_layers = 62}, OffloadOptions{.n_cpu_moe = 57}}) {
    try {
      place_blocks(v3, options.n_layers ? card(8) : card(24), options, run_of(8192));
      FAIL("it cannot fit");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kDoesNotFit);
      CHECK(error.sentence().find("GiB") != std::string::npos);
      CHECK(error.remedy() == Remedy::kLessOnDevice);
    }
  }
}

TEST_CASE("rules place what their expression finds; the first that matches counts") {
  Plan plan = plan_of("deepseek-v2-lite");
  place_blocks(
      plan, card(24),
      {.rules = {{"blk\\.2[0-9]\\.ffn_.*_exps", Place::kDevice}, {"exps", Place::kCpu}, {"^output", Place::kCpu}}},
      run_of(4096));
  CHECK(block_of(plan, BlockKind::kMoeFfn, 20).experts_place == Place::kDevice);
  CHECK(block_of(plan, BlockKind::kMoeFfn, 19).experts_place == Place::kCpu);
  CHECK(block_of(plan, BlockKind::kMoeFfn, 19).place == Place::kDevice);
  CHECK(block_of(plan, BlockKind::kHead).place == Place::kCpu);
  CHECK_THROWS_AS(place_blocks(plan, card(24), {.rules = {{"(", Place::kCpu}}}, run_of(4096)), Error);
}

TEST_CASE("what a device cannot multiply stays on the processors with the reason") {
  const ModelConfig c = published_shape("deepseek-v2-lite");
  Plan plan = make_plan(c,
                        random_weight_infos(c,
                                            [](const WantedWeight& w) {
                                              return w.id.role == WeightRole::kAttentionOutput && w.id.layer == 3
                                                         ? DType::kTQ2_0
                                                         : some_type(w);
                                            }),
                        {}, machine_of(cpu::synthetic_topology("package:1 l3:1 core:4 pu:1"), 1 << 30), {});
  place_blocks(plan, card(24), {}, run_of(4096));
  const BlockPlan& block = block_of(plan, BlockKind::kMlaAttention, 3);
  CHECK(block.place == Place::kCpu);
  CHECK(block.reason.find("TQ2_0") != std::string::npos);
  CHECK(block_of(plan, BlockKind::kMlaAttention, 4).place == Place::kDevice);
}

TEST_CASE("a block whose weights are ruled differently stays on the processors") {
  for (const char* one : {"blk\\.20\\.ffn_gate_exps", "blk\\.20\\.ffn_up_exps"}) {
    Plan plan = plan_of("deepseek-v2-lite");
    place_blocks(plan, card(24), {.rules = {{one, Place::kCpu}, {"exps", Place::kDevice}}}, run_of(4096));
    CHECK(block_of(plan, BlockKind::kMoeFfn, 20).experts_place == Place::kCpu);
    CHECK(block_of(plan, BlockKind::kMoeFfn, 21).experts_place == Place::kDevice);
  }
}

TEST_CASE("the cache's type is what was asked for, in the types that a device has") {
  for (const auto& [asked, given] : {std::pair(DType::kF16, DType::kF16), std::pair(DType::kBF16, DType::kBF16),
                                     std::pair(DType::kQ8_0, DType::kI8), std::pair(DType::kI8, DType::kI8)}) {
    Plan plan = plan_of("deepseek-v2-lite");
    OffloadRun run = run_of(4096);
    run.cache_type = asked;
    CHECK(place_blocks(plan, card(24), {}, run).cache_type == given);
  }
}

TEST_CASE("the head is given up before the dense layers") {
  bool head_alone = false;
  for (std::uint64_t mib = 16 * 1024; mib > 8 * 1024; mib -= 64) {
    Plan plan = plan_of("deepseek-v3");
    place_blocks(plan, {"a card", mib << 20, mib << 20, 82}, {}, run_of(8192));
    const bool head = block_of(plan, BlockKind::kHead).place == Place::kDevice,
               dense = block_of(plan, BlockKind::kDenseFfn, 0).place == Place::kDevice;
    CHECK_FALSE((head && !dense));
    head_alone = head_alone || (!head && dense);
  }
  CHECK(head_alone);
}

TEST_CASE("memory that others use is not ours") {
  Plan plan = plan_of("deepseek-v2-lite");
  const Offload result = place_blocks(plan, {"a card", 24 * kGiB, 10 * kGiB, 82}, {}, run_of(4096));
  CHECK(result.budget == 10 * kGiB - result.margin);
  CHECK(result.bytes() <= result.budget);
}
