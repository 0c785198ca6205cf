#include "bench/gpu_link.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "cpu/memory.hpp"
#include "gpu/kernels/add_rows.hpp"
#include "gpu/kernels/read_words.hpp"
#include "runtime/cli/console.hpp"

namespace dodeca::bench {
namespace {

using gpu::Device;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Bytes per second of `copy`, which moves `bytes` and waits for nothing. The first time is not counted.
template <class Copy>
double rate(Device& device, double bytes, double seconds, const Copy& copy) {
  copy();
  device.synchronize();
  double done = 0;
  const Clock::time_point begin = Clock::now();
  do {
    for (int i = 0; i < 4; ++i) copy();
    device.synchronize();
    done += 4 * bytes;
  } while (seconds_since(begin) < seconds);
  return done / seconds_since(begin);
}

void add_rates(Device& device, const GpuMeasure& measure, const char* memory, std::byte* host,
               std::vector<CopyRate>& rates) {
  const std::size_t bytes = measure.copy_bytes;
  const gpu::DeviceMemory in = device.allocate(bytes), out = device.allocate(bytes);
  const gpu::Stream to = device.make_stream(), from = device.make_stream();
  device.fill(to, out.data(), 1, bytes);
  device.synchronize();
  const auto put = [&] { device.copy_to_device(to, in.data(), host, bytes); };
  const auto get = [&] { device.copy_to_host(from, host + bytes, out.data(), bytes); };
  const auto n = static_cast<double>(bytes);
  rates.push_back({memory, "to device", rate(device, n, measure.seconds, put)});
  rates.push_back({memory, "to host", rate(device, n, measure.seconds, get)});
  rates.push_back({memory, "both", rate(device, 2 * n, measure.seconds, [&] {
                     put();
                     get();
                   })});
}

}  // namespace

std::vector<CopyRate> copy_rates(Device& device, const GpuMeasure& measure) {
  std::vector<CopyRate> rates;
  {
    const gpu::PinnedMemory pinned = device.allocate_pinned(2 * measure.copy_bytes);
    add_rates(device, measure, "pinned", pinned.data(), rates);
  }
  const cpu::Buffer memory(2 * measure.copy_bytes);
  std::memset(memory.data(), 1, 2 * measure.copy_bytes);
  const gpu::RegisteredRange registered = device.register_host(memory.data(), 2 * measure.copy_bytes);
  add_rates(device, measure, "registered", memory.data(), rates);
  return rates;
}

double read_rate(Device& device, const gpu::DeviceMemory& pool, const GpuMeasure& measure) {
  const gpu::DeviceMemory sum = device.allocate(sizeof(std::uint32_t));
  const gpu::Stream stream = device.make_stream();
  device.fill(stream, sum.data(), 0, sum.bytes());
  const gpu::ReadWordsArgs args{.in = reinterpret_cast<const std::uint32_t*>(pool.data()),
                                .sum = reinterpret_cast<std::uint32_t*>(sum.data()),
                                .n = static_cast<std::int64_t>(pool.bytes() / 16 * 4)};
  const gpu::Grid grid = gpu::read_words_grid(args, device.info().multiprocessors);
  return rate(device, static_cast<double>(gpu::read_words_bytes(args)), measure.seconds,
              [&] { device.launch<gpu::KernelId::read_words>(stream, grid, args); });
}

LaunchCost launch_cost(Device& device, const GpuMeasure& measure) {
  const gpu::DeviceMemory values = device.allocate(32);
  const gpu::Stream stream = device.make_stream();
  device.fill(stream, values.data(), 0, values.bytes());
  auto* const floats = reinterpret_cast<float*>(values.data());
  const gpu::AddRowsArgs args{
      .out = floats, .in = floats + 4, .out_stride = 4, .in_stride = 4, .n_rows = 1, .width = 4};
  const auto all = [&] {
    for (int i = 0; i < measure.launches; ++i)
      device.launch<gpu::KernelId::add_rows>(stream, gpu::add_rows_grid(args), args);
  };
  device.begin_capture(stream);
  all();
  const gpu::Graph graph = device.end_capture(stream);
  all();  // the first ones load the kernel
  device.launch(stream, graph);
  device.synchronize();

  LaunchCost cost;
  const double each = 1e6 / measure.launches;
  Clock::time_point begin = Clock::now();
  all();
  cost.host_us = each * seconds_since(begin);
  device.synchronize();
  cost.stream_us = each * seconds_since(begin);
  begin = Clock::now();
  device.launch(stream, graph);
  device.synchronize();
  cost.graph_us = each * seconds_since(begin);
  return cost;
}

// A driver's queue holds about a thousand launches and its calls wait when it is full: the device must not then wait for
// this thread. So turns come in groups, and the first of a group is not counted.
RoundTrip round_trip(Device& device, const GpuMeasure& measure) {
  const std::uint32_t group = measure.emulated ? 5 : 101;
  constexpr double kPatience = 10;  // seconds
  const gpu::PinnedMemory flags = device.allocate_pinned(128);
  auto* const up = reinterpret_cast<gpu::Flag*>(flags.data());
  auto* const down = reinterpret_cast<gpu::Flag*>(flags.data() + 64);
  const gpu::Stream stream = device.make_stream();
  std::vector<double> times;
  for (std::uint32_t value = 0; static_cast<int>(times.size()) < measure.round_trips;) {
    runtime::cli::throw_if_stopped();
    for (std::uint32_t i = 1; i <= group; ++i) {
      device.signal(stream, up, value + i);
      device.wait_flag(stream, down, value + i);
    }
    Clock::time_point last;
    for (std::uint32_t i = 1; i <= group; ++i) {
      device.host_wait(up, value + i, kPatience);
      const Clock::time_point now = Clock::now();
      gpu::write_flag(down, value + i);
      if (i > 1) times.push_back(1e6 * std::chrono::duration<double>(now - last).count());
      last = now;
    }
    value += group;
    device.synchronize(stream);
  }
  std::ranges::sort(times);
  const std::size_t n = times.size();
  return {static_cast<int>(n), times.front(), times[n / 2], times[n * 99 / 100]};
}

}  // namespace dodeca::bench
