#include "gpu/emulation/block.hpp"

#include <doctest/doctest.h>

#include <bit>

#include "tests/gpu/emulation/sample_kernels.hpp"
#include "tests/gpu/on_device.hpp"

namespace dodeca::gpu {

using emulation::EmulatedDevice, emulation::Kernel;

TEST_CASE("threads of a block meet at barriers and in shuffles, in any order") {
  for_each_emulation([](EmulatedDevice& device) {
    for (const int threads : {32, 64, 256, 1024}) {
      const int blocks = 3;
      std::vector<float> in(blocks * threads), sums(blocks);
      for (std::size_t i = 0; i < in.size(); ++i) {
        in[i] = static_cast<float>(i * 7 % 101);
        sums[i / threads] += in[i];
      }
      OnDevice<float> device_in(device, in);
      for (const Kernel* kernel : {&emulated::block_sum_kernel, &checked::block_sum_kernel}) {
        OnDevice<float> out(device, sums.size());
        const BlockSumArgs args{.out = out.data(), .in = device_in.data()};
        device.launch(out.stream(), *kernel, {.blocks_x = blocks, .threads = static_cast<std::uint32_t>(threads)},
                      &args, sizeof args);
        CHECK(out.values() == sums);
      }
    }
  });
}

TEST_CASE("shuffles, votes and sums of a warp give what CUDA's guide says") {
  std::vector<std::uint32_t> in(32);
  for (std::uint32_t lane = 0; lane < 32; ++lane) in[lane] = lane * 0x9e3779b9u >> 7;
  std::vector<std::uint32_t> wanted;
  const auto each = [&](auto function) {
    for (int lane = 0; lane < 32; ++lane) wanted.push_back(static_cast<std::uint32_t>(function(lane)));
  };
  std::uint32_t ballot = 0, sum = 0, least = ~0u, exclusive = 0, count = 0;
  std::uint32_t most[2] = {}, matches[4] = {};
  for (int lane = 0; lane < 32; ++lane) {
    ballot |= (in[lane] & 1) << lane;
    sum += in[lane];
    least = std::min(least, in[lane]);
    exclusive ^= in[lane];
    most[lane / 16] = std::max(most[lane / 16], in[lane]);
    matches[in[lane] & 3] |= 1u << lane;
    count += in[lane] >> 1 & 1;
  }
  each([&](int) { return in[5]; });
  each([&](int lane) { return in[lane / 8 * 8 + 3]; });
  each([&](int lane) { return in[lane < 3 ? lane : lane - 3]; });
  each([&](int lane) { return in[lane % 16 + 3 > 15 ? lane : lane + 3]; });
  each([&](int lane) { return in[lane ^ 9]; });
  each([&](int) { return ballot; });
  each([&](int) { return 1; });
  each([&](int) { return 0; });
  each([&](int lane) { return matches[in[lane] & 3]; });
  each([&](int) { return sum; });
  each([&](int) { return least; });
  each([&](int) { return exclusive; });
  each([&](int lane) { return most[lane / 16]; });
  each([&](int) { return count; });
  REQUIRE(std::ssize(wanted) == kWarpFunctions * 32);

  for_each_emulation([&](EmulatedDevice& device) {
    OnDevice<std::uint32_t> device_in(device, in);
    for (const Kernel* kernel : {&emulated::warp_functions_kernel, &checked::warp_functions_kernel}) {
      OnDevice<std::uint32_t> out(device, wanted.size());
      const WarpFunctionsArgs args{.out = out.data(), .in = device_in.data()};
      device.launch(out.stream(), *kernel, {}, &args, sizeof args);
      CHECK(out.values() == wanted);
    }
  });
}

}  // namespace dodeca::gpu
