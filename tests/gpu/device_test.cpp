#include "gpu/device.hpp"

#include <doctest/doctest.h>

#include "gpu/emulation/emulation.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace dodeca::gpu {

TEST_CASE("a device is named by a number or as the emulation") {
  CHECK(open_device("emulation", {})->info().name == "emulation");
  CHECK(open_device("emulation", {.memory_limit = 1 << 20})->memory_limit() == 1 << 20);
  CHECK_THROWS_WITH(open_device("fast", {}), doctest::Contains("\"fast\" is no device"));
  CHECK_THROWS_WITH(open_device("-1", {}), doctest::Contains("is no device"));
}

TEST_CASE("without cards there is a reason") {
  CHECK(devices().empty() == !why_no_devices().empty());
  if (devices().empty()) CHECK_THROWS_WITH(open_device("0", {}), doctest::Contains(why_no_devices().c_str()));
}

TEST_CASE("memory is counted against the limit, and comes back") {
  const auto device = emulation::open_emulation({.memory_limit = 4096});
  DeviceMemory first = device->allocate(3000);
  CHECK(device->memory_used() == 3072);
  CHECK_THROWS_WITH(device->allocate(2000), doctest::Contains("4096 bytes, of which 3072 are taken: 2048 more"));
  const DeviceMemory moved = std::move(first);
  CHECK(device->memory_used() == 3072);
  first.reset();  // NOLINT(bugprone-use-after-move): it has nothing any more
  CHECK(device->memory_used() == 3072);
  {
    const DeviceMemory second = device->allocate(1);
    CHECK(device->memory_used() == 3328);
  }
  CHECK(device->memory_used() == 3072);
}

#if defined(__SANITIZE_ADDRESS__)
TEST_CASE("AddressSanitizer knows the ends of the device's memory") {
  const auto device = emulation::open_emulation();
  const DeviceMemory memory = device->allocate(100);
  CHECK_FALSE(__asan_region_is_poisoned(memory.data(), 100));
  CHECK(__asan_address_is_poisoned(memory.data() + 100));
  CHECK(__asan_address_is_poisoned(memory.data() - 1));
}
#endif

}  // namespace dodeca::gpu
