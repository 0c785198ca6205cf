// What a device and its link to the host give, measured: copies, reading its own memory, launches, and flags.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gpu/device.hpp"

namespace dodeca::bench {

// How long and with how much is measured; the emulation's sizes are small, and its times mean nothing.
struct GpuMeasure {
  double seconds = 0.05;  // of each measurement, at least
  std::size_t copy_bytes = 0, pool_bytes = 0;
  int launches = 0, round_trips = 0;
  bool emulated = false;
};

struct CopyRate {
  std::string memory;     // "pinned" or "registered"
  std::string direction;  // "to device", "to host", "both"
  double bytes_per_second = 0;
};
std::vector<CopyRate> copy_rates(gpu::Device& device, const GpuMeasure& measure);

// Bytes per second with which read_words goes through `pool` again and again.
double read_rate(gpu::Device& device, const gpu::DeviceMemory& pool, const GpuMeasure& measure);

// Microseconds that a launch of an almost empty kernel takes.
struct LaunchCost {
  double host_us = 0;    // of the calling thread
  double stream_us = 0;  // from one to the next, in a stream
  double graph_us = 0;   // the same in a graph
};
LaunchCost launch_cost(gpu::Device& device, const GpuMeasure& measure);

// Microseconds of a round trip: the device signals, the host answers, the device goes on and signals again.
struct RoundTrip {
  int turns = 0;
  double least_us = 0, median_us = 0, p99_us = 0;
};
RoundTrip round_trip(gpu::Device& device, const GpuMeasure& measure);

}  // namespace dodeca::bench
