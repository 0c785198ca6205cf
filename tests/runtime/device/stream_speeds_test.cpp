// The speeds by which experts are divided: measured on the emulation, kept in a file, read again.
#include <doctest/doctest.h>

#include <cmath>

#include "runtime/device/stream_measure.hpp"
#include "runtime/model/random_source.hpp"
#include "tests/runtime/device/hybrid_fixture.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime;

constexpr double device::StreamSpeeds::*kSpeeds[] = {
    &device::StreamSpeeds::link_bytes_per_s, &device::StreamSpeeds::device_bytes_per_s,
    &device::StreamSpeeds::device_macs_per_s, &device::StreamSpeeds::host_bytes_per_s,
    &device::StreamSpeeds::host_macs_per_s};

// Three routed layers; the first one's experts are of `first`, the others' of Q8_0.
Plan plan_with(quant::DType first) {
  ModelConfig c = small_hybrid_config();
  c.hidden_size = c.moe_intermediate_size = 256;
  c.n_routed_experts = 2;
  c.n_experts_per_tok = 1;
  c.n_group = c.topk_group = 1;
  const auto type_of = [&](const WantedWeight& w) {
    return !is_routed(w.id.role) ? quant::DType::kF32 : w.id.layer == 1 ? first : quant::DType::kQ8_0;
  };
  return make_plan(c, random_weight_infos(c, type_of), {}, this_machine(), {});
}

}  // namespace

TEST_CASE("speeds are measured of the first layer that the device multiplies") {
  cpu::Team team(2);
  const auto device = gpu::emulation::open_emulation({});
  // IQ2_XXS has no product on a device.
  for (const quant::DType first : {quant::DType::kQ8_0, quant::DType::kIQ2_XXS}) {
    const Plan plan = plan_with(first);
    const device::StreamSpeeds speeds = device::measure_stream_speeds(*device, team, plan);
    for (const auto speed : kSpeeds) {
      CHECK(std::isfinite(speeds.*speed));
      CHECK(speeds.*speed > 0);
    }
    CHECK(device::stream_setting(plan, "a processor", 2, "a card").types == "Q8_0 256x256, Q8_0 256x256, Q8_0 256x256");
    CHECK(device->memory_used() == 0);
  }
  ModelConfig dense = small_mla_config(2);
  const Plan plan = make_plan(dense, random_weight_infos(dense, [](const WantedWeight&) { return quant::DType::kF32; }),
                              {}, this_machine(), {});
  CHECK_THROWS_WITH_AS(device::measure_stream_speeds(*device, team, plan), doctest::Contains("no routed experts"),
                       Error);
}

TEST_CASE("an expert and its rows: what two products say, and never nothing") {
  const device::ExpertCosts costs = device::expert_costs(3.0 + 16 * 0.5, 3.0 + 128 * 0.5);
  CHECK(costs.expert == doctest::Approx(3.0));
  CHECK(costs.row == doctest::Approx(0.5));
  for (const auto& [fewer, more] : {std::pair{1.0, 0.9}, {1e-9, 1.0}}) {
    CHECK(device::expert_costs(fewer, more).expert > 0);
    CHECK(device::expert_costs(fewer, more).row > 0);
  }
}

TEST_CASE("a file of speeds gives back what was written, to four digits") {
  const TempDir dir;
  const device::StreamSpeedsFile file{.speeds = {25.1234e9, 640e9, 21e12, 290.56e9, 4.8e12},
                                      .setting = {"a machine", "Q2_K 2048x7168"}};
  const std::filesystem::path path = dir / "new/folder/speeds.json";
  device::write_stream_speeds(file, path);
  const device::StreamSpeedsFile read = device::read_stream_speeds(path);
  CHECK(read.setting.machine == "a machine");
  CHECK(read.setting.types == "Q2_K 2048x7168");
  CHECK(read.speeds.link_bytes_per_s == doctest::Approx(25.12e9).epsilon(1e-12));
  CHECK(read.speeds.host_bytes_per_s == doctest::Approx(290.6e9).epsilon(1e-12));
  CHECK(read.speeds.device_macs_per_s == doctest::Approx(21e12).epsilon(1e-12));
}
