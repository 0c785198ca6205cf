// For tests of kernels: values on a device, and every way in which the emulation can run.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <type_traits>
#include <vector>

#include "gpu/emulation/checked/checked.hpp"
#include "gpu/emulation/emulation.hpp"
#include "tests/gpu/test_device.hpp"

namespace dodeca::gpu {

// Values on the device, copied there when this is made; with a stream of its own, in which a kernel that uses several
// of these may be launched: all copies are done before.
template <class T>
class OnDevice {
 public:
  OnDevice(Device& device, const std::vector<T>& values) : OnDevice(device, values.size()) {
    if (values.empty()) return;
    device.copy_to_device(stream_, memory_.data(), values.data(), memory_.bytes());
    device.synchronize(stream_);
  }
  // Poison.
  OnDevice(Device& device, std::size_t n)
      : device_(&device), memory_(device.allocate(n * sizeof(T))), stream_(device.make_stream()) {}

  T* data() const { return reinterpret_cast<T*>(memory_.data()); }
  const Stream& stream() const { return stream_; }
  // After what was launched in any stream.
  std::vector<T> values() const {
    device_->synchronize();
    std::vector<T> result(memory_.bytes() / sizeof(T));
    if (result.empty()) return result;
    device_->copy_to_host(stream_, result.data(), memory_.data(), memory_.bytes());
    device_->synchronize(stream_);
    return result;
  }

 private:
  Device* device_;
  DeviceMemory memory_;
  Stream stream_;
};

// Runs `test(device)` with threads and blocks in ascending, descending and shuffled orders, with streams of every
// kind, and with every access of the kernels of gpu/kernels observed. A test that takes any Device runs on the card
// instead where there is one (test_device.hpp).
template <class Test>
void for_each_emulation(Test test) {
  if constexpr (std::is_invocable_v<Test, Device&>) {
    if (test_card() != nullptr) return static_cast<void>(test(*open_test_device()));
  }
  using emulation::Order, emulation::Streams;
  const emulation::EmulationOptions ways[] = {
      {.order = Order::kDescending, .streams = Streams::kEager},
      {.order = Order::kShuffled, .streams = Streams::kShuffled, .seed = 1},
      emulation::checked({.order = Order::kAscending, .streams = Streams::kLate}),
      emulation::checked({.order = Order::kShuffled, .streams = Streams::kShuffled, .seed = 2}),
  };
  for (const emulation::EmulationOptions& way : ways) {
    const int order = static_cast<int>(way.order);
    CAPTURE(order);
    CAPTURE(way.seed);
    CAPTURE(way.kernels == emulation::plain_kernels());
    const std::unique_ptr<emulation::EmulatedDevice> device = emulation::open_emulation(way);
    test(*device);
  }
}

}  // namespace dodeca::gpu
