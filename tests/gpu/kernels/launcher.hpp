// Launches kernels of the device of the tests (tests/gpu/test_device.hpp) on vectors. Everything given stays on the device until the launcher goes.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <vector>

#include "gpu/emulation/checked/checked.hpp"
#include "gpu/emulation/emulation.hpp"
#include "tests/gpu/test_device.hpp"

namespace dodeca::tests {

class Launcher {
 public:
  explicit Launcher(const gpu::emulation::EmulationOptions& options = {})
      : device_(gpu::open_test_device(options)), stream_(device_->make_stream()) {}

  // Values on the device.
  template <class T>
  T* put(const std::vector<T>& values) {
    T* const there = room<T>(values.size());
    device_->copy_to_device(stream_, there, values.data(), values.size() * sizeof(T));
    device_->synchronize(stream_);
    return there;
  }
  // Room for n values, undefined.
  template <class T>
  T* room(std::size_t n) {
    memory_.push_back(device_->allocate(n * sizeof(T)));
    return reinterpret_cast<T*>(memory_.back().data());
  }
  template <class T>
  std::vector<T> get(const T* there, std::size_t n) {
    std::vector<T> values(n);
    device_->copy_to_host(stream_, values.data(), there, n * sizeof(T));
    device_->synchronize(stream_);
    return values;
  }
  template <gpu::KernelId kernel>
  void launch(const gpu::Grid& grid, const gpu::KernelArgs<kernel>& args) {
    device_->launch<kernel>(stream_, grid, args);
  }
  gpu::Device& device() { return *device_; }
  const gpu::Stream& stream() const { return stream_; }

 private:
  std::unique_ptr<gpu::Device> device_;
  std::vector<gpu::DeviceMemory> memory_;
  gpu::Stream stream_;
};

// Ways to run in which a kernel must give the same bits: orders of threads and blocks, and with every access observed.
inline std::vector<gpu::emulation::EmulationOptions> ways_to_run() {
  using gpu::emulation::Order;
  if (gpu::test_card() != nullptr) return {{}};
  return {{.order = Order::kDescending},
          {.order = Order::kShuffled, .seed = 1},
          gpu::emulation::checked({.order = Order::kAscending}),
          gpu::emulation::checked({.order = Order::kShuffled, .seed = 2})};
}

}  // namespace dodeca::tests
