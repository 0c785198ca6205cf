// Every mistake that the emulation is there to find, made by a wrong kernel or a wrong program.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "gpu/emulation/checked/checked.hpp"
#include "tests/gpu/emulation/wrong_kernels.hpp"
#include "tests/gpu/on_device.hpp"

namespace dodeca::gpu {

using emulation::EmulatedDevice, emulation::Kernel, emulation::Order;

namespace {

constexpr int kThreads = 64;

// What the kernel writes into out[kThreads], for in[i] = i + 1.
std::vector<float> run(EmulatedDevice& device, const Kernel& kernel) {
  std::vector<float> in(kThreads);
  for (int i = 0; i < kThreads; ++i) in[i] = static_cast<float>(i + 1);
  OnDevice<float> device_in(device, in), out(device, kThreads);
  const WrongArgs args{.out = out.data(), .in = device_in.data(), .n = kThreads};
  device.launch(out.stream(), kernel, {.threads = kThreads}, &args, sizeof args);
  return out.values();
}

std::string finding(EmulatedDevice& device, const Kernel& kernel) {
  try {
    run(device, kernel);
  } catch (const emulation::Finding& found) {
    return found.what();
  }
  return "nothing";
}

// What is found of a kernel by the plain and by the checked emulation, which must agree, in all orders.
void expect(const Kernel& plain, const Kernel& checked, const std::string& words) {
  for (const Order order : {Order::kAscending, Order::kDescending, Order::kShuffled}) {
    emulation::EmulationOptions options{.order = order};
    CHECK_MESSAGE(finding(*open_emulation(options), plain).find(words) != std::string::npos,
                  finding(*open_emulation(options), plain));
    options = emulation::checked(options);
    CHECK_MESSAGE(finding(*open_emulation(options), checked).find(words) != std::string::npos,
                  finding(*open_emulation(options), checked));
  }
}
#define EXPECT(kernel, words) expect(emulated::kernel##_kernel, checked::kernel##_kernel, words)

// What the checked emulation alone can see.
void expect_checked(const Kernel& kernel, const std::string& words) {
  for (const Order order : {Order::kAscending, Order::kDescending, Order::kShuffled}) {
    const auto device = open_emulation(emulation::checked({.order = order}));
    const std::string found = finding(*device, kernel);
    CHECK_MESSAGE(found.find(words) != std::string::npos, found);
  }
}

}  // namespace

TEST_CASE("a barrier that not all threads reach is found") {
  EXPECT(barrier_of_half, "divergent barrier");
  EXPECT(barrier_after_return, "while thread 40 has ended");
  EXPECT(two_barriers, "divergent barrier");
  const std::string found = finding(*emulation::open_emulation(), emulated::barrier_of_half_kernel);
  CHECK(found.find("kernel barrier_of_half, block (0, 0, 0), thread 0: divergent barrier: it waits at the barrier "
                   "wrong_kernels.cu:") == 0);
}

TEST_CASE("a warp's operation that lanes of its mask do not join is found") {
  EXPECT(shuffle_of_half, "divergent warp: it waits in __shfl_xor_sync");
  EXPECT(shuffle_from_outside, "a shuffle reads lane 16, which does not take part");
  EXPECT(shuffle_with_wrong_mask, "with a mask without its own lane");
}

TEST_CASE("accesses out of bounds are found") {
  expect_checked(checked::writes_behind_kernel,
                 "writes 4 bytes out of bounds: 0 bytes behind an allocation of 256 bytes");
  expect_checked(checked::reads_behind_kernel,
                 "reads 4 bytes out of bounds: 0 bytes behind an allocation of 256 bytes");
  expect_checked(checked::writes_far_away_kernel, "an address outside all memory of the device");
  expect_checked(checked::shared_overflow_kernel, "writes 4 bytes outside the variables in shared memory");
#if !defined(__SANITIZE_ADDRESS__)  // which ends the program there
  const std::string found = finding(*emulation::open_emulation(), emulated::writes_behind_kernel);
  CHECK(found == "something wrote 0 bytes behind an allocation of 256 bytes on the device");
#endif
  EXPECT(too_much_shared, "needs more than 101376 bytes of shared memory");
}

TEST_CASE("shared memory that nothing has written is found, and is NaN") {
  expect_checked(checked::reads_unwritten_shared_kernel, "reads 4 bytes of shared memory, at byte 268, that nothing");
  const std::vector<float> out = run(*emulation::open_emulation(), emulated::reads_unwritten_shared_kernel);
  CHECK(std::isnan(out[62]));
  CHECK(out[61] == 63.0f);
  expect_checked(checked::copy_not_awaited_kernel, "that nothing has written");
  CHECK(std::isnan(run(*emulation::open_emulation(), emulated::copy_not_awaited_kernel)[0]));
}

TEST_CASE("races in shared memory are found, and barriers end them") {
  expect_checked(checked::race_kernel, "race in shared memory: it ");
  expect_checked(checked::warp_race_kernel, "race in shared memory: it ");
  expect_checked(checked::reuse_race_kernel, "race in shared memory: it ");
  expect_checked(checked::atomic_race_kernel, "race in shared memory: it ");
  for (const Kernel* right : {&checked::race_avoided_kernel, &checked::warp_race_avoided_kernel,
                              &checked::atomics_kernel, &checked::copy_awaited_kernel})
    expect_checked(*right, "nothing");
  const std::vector<float> out = run(*emulation::open_emulation(), emulated::copy_awaited_kernel);
  CHECK(out[2] == 4.0f - 3.0f);
  CHECK(out[3] == 5.0f);
}

TEST_CASE("matrices that are not aligned are found") {
  EXPECT(ldmatrix_unaligned, "of ldmatrix reads 16 bytes of shared memory that are not aligned");
}

TEST_CASE("launches that a card refuses are refused") {
  const auto device = emulation::open_emulation();
  const Stream stream = device->make_stream();
  const WrongArgs args{};
  const auto launch = [&](const Grid& grid, std::size_t bytes) {
    device->launch(stream, emulated::race_kernel, grid, &args, bytes);
  };
  CHECK_THROWS_WITH(launch({.threads = 65}, sizeof args),
                    doctest::Contains("65 threads in a block where it allows 1 to 64"));
  CHECK_THROWS_WITH(launch({.threads = 0}, sizeof args), doctest::Contains("0 threads"));
  CHECK_THROWS_WITH(launch({.blocks_x = 0}, sizeof args), doctest::Contains("a grid of 0 x 1 x 1 blocks"));
  CHECK_THROWS_WITH(launch({.blocks_y = 65536}, sizeof args), doctest::Contains("65536"));
  CHECK_THROWS_WITH(launch({.shared_bytes = 1 << 20}, sizeof args),
                    doctest::Contains("1048576 bytes of shared memory"));
  CHECK_THROWS_WITH(launch({}, 4), doctest::Contains("4 bytes of arguments where it has 24"));
}

}  // namespace dodeca::gpu
