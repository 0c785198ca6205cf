// A model of which a part runs on the emulated device, and an executor on it.
#pragma once

#include <algorithm>
#include <cmath>

#include "gpu/emulation/emulation.hpp"
#include "runtime/device/device_blocks.hpp"
#include "tests/runtime/exec/exec_fixture.hpp"

namespace dodeca::tests {

// One dense layer and three with routed and shared experts.
inline runtime::ModelConfig small_hybrid_config() {
  runtime::ModelConfig c = small_mla_config(1, 3);
  c.n_shared_experts = 1;
  c.gating = runtime::GatingKind::kSigmoid;
  c.norm_topk_prob = true;
  c.n_group = 2;
  c.topk_group = 1;
  c.routed_scaling_factor = 2.5;
  c.rope.magnitude = 0.8;
  return c;
}

// Of logits of about 1 in float32, where only the order of sums differs: five times what was seen.
inline constexpr double kRounding = 2e-5;

inline double largest_difference(const std::vector<float>& got, const std::vector<float>& want) {
  REQUIRE(got.size() == want.size());
  double most = 0;
  for (std::size_t i = 0; i < got.size(); ++i) most = std::max<double>(most, std::abs(got[i] - want[i]));
  return most;
}

struct HybridSetup {
  runtime::PlanOptions plan = {};
  runtime::device::OffloadOptions offload = {.n_cpu_moe = 1000};  // experts on the processors
  runtime::exec::ExecutorOptions executor = {.n_positions = 1024, .micro_batch = 64};
  gpu::emulation::EmulationOptions emulation = {};
};

struct Hybrid {
  std::shared_ptr<gpu::emulation::EmulatedDevice> device;
  cpu::Team team{2};
  runtime::device::Offload offload;
  std::shared_ptr<runtime::device::DeviceBlocks> blocks;
  std::unique_ptr<runtime::Model> model;
  std::unique_ptr<runtime::exec::Executor> executor;

  Hybrid(const runtime::WeightSource& source, const HybridSetup& setup)
      : device(gpu::emulation::open_emulation(setup.emulation)) {
    runtime::Plan plan = runtime::make_plan(source, runtime::this_machine(), setup.plan);
    const gpu::DeviceInfo info = device->info();
    offload = runtime::device::place_blocks(plan,
                                            {.name = info.name,
                                             .memory_bytes = info.memory_bytes,
                                             .free_bytes = info.free_bytes,
                                             .multiprocessors = info.multiprocessors},
                                            setup.offload, {setup.executor.sizes(), setup.executor.cache_type});
    blocks = std::make_shared<runtime::device::DeviceBlocks>(device, plan, offload, kSilent);
    model = runtime::Model::load(source, std::move(plan), team,
                                 {.take = [this](const runtime::WeightPlan& weight,
                                                 const runtime::WeightStore& store) { blocks->take(weight, store); }},
                                 kSilent);
    runtime::exec::ExecutorOptions options = setup.executor;
    options.micro_batch = std::min(options.micro_batch, offload.micro_batch);
    options.integer_attention = !setup.plan.compute_f32;
    if (offload.any()) options.device = blocks;
    executor = std::make_unique<runtime::exec::Executor>(*model, team, options);
  }
};

}  // namespace dodeca::tests
