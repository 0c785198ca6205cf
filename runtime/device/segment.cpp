#include "runtime/device/segment.hpp"

#include <algorithm>

namespace dodeca::runtime::device {
namespace {

// A pass of many rows through all layers of a large model takes seconds at most; a lost device must not hang the program.
constexpr double kPatienceSeconds = 120;

// A capture ends whatever happens in it.
gpu::Graph captured(const DeviceOps& ops, const std::function<void()>& launch) {
  ops.device().begin_capture(ops.stream());
  try {
    launch();
  } catch (...) {
    try {
      ops.device().end_capture(ops.stream());
    } catch (...) {  // what went wrong first is said
    }
    throw;
  }
  return ops.device().end_capture(ops.stream());
}

}  // namespace

Meeting::Meeting(gpu::Device& its_device, const exec::RunSizes& sizes)
    : device(its_device),
      memory(
          device.allocate_pinned(2 * kDeviceAlignment + static_cast<std::size_t>(sizes.micro_batch) * sizeof(float))),
      told(reinterpret_cast<gpu::Flag*>(memory.data())),
      given(reinterpret_cast<gpu::Flag*>(memory.data() + kDeviceAlignment)),
      factors(reinterpret_cast<float*>(memory.data() + 2 * kDeviceAlignment)) {}

void Meeting::wait_until_told(std::uint32_t value) noexcept {
  attempt([&] { device.host_wait(told, value, kPatienceSeconds); });
}

void Meeting::drain(const gpu::Stream& stream) noexcept {
  n_given = n_awaited = std::max(n_given, n_awaited);
  gpu::write_flag(given, n_given);
  try {
    device.synchronize(stream);
  } catch (...) {  // the device is lost: nothing runs there
  }
}

void Meeting::do_and_wait(const std::function<void()>& launch, const gpu::Stream& stream) noexcept {
  attempt([&] {
    launch();
    device.signal(stream, told, ++n_told);
  });
  wait_until_told(n_told);
}

void Segment::add_fixed(FixedLaunch launch) {
  std::vector<Step>& steps = stretches_.back();
  if (steps.empty() || steps.back().of_pass) steps.emplace_back();
  steps.back().fixed.push_back(std::move(launch));
}

void Segment::launch(Step& step, const exec::Pass& pass) {
  if (step.of_pass) return step.of_pass(pass);
  const std::int64_t n = pass.n();
  if (n <= exec::kFewRows) return ops_.device().launch(ops_.stream(), step.graphs[static_cast<std::size_t>(n)]);
  for (const FixedLaunch& launch : step.fixed) launch(n);
}

// Making a graph may wait for the device, and must not happen while that waits for us.
void Segment::keep_graphs(std::int64_t n) {
  for (std::vector<Step>& steps : stretches_) {
    for (Step& step : steps) {
      gpu::Graph& graph = step.graphs[static_cast<std::size_t>(n)];
      if (step.of_pass || graph) continue;
      graph = captured(ops_, [&] {
        for (const FixedLaunch& launch : step.fixed) launch(n);
      });
    }
  }
}

void Segment::begin(const exec::Pass& pass) {
  meeting_.attempt([&] {
    if (pass.n() <= exec::kFewRows) keep_graphs(pass.n());
  });
  launch(0, pass);
}

void Segment::launch(std::size_t stretch, const exec::Pass& pass) noexcept {
  meeting_.attempt([&] {
    for (Step& step : stretches_[stretch]) launch(step, pass);
  });
}

void Segment::wait(std::size_t stretch, const exec::Pass& pass) {
  const std::uint32_t told = meeting_.n_told;
  if (pass.n() <= exec::kFewRows) launch(stretch + 1, pass);
  meeting_.wait_until_told(told);
}

void Segment::give(std::size_t stretch, const exec::Pass& pass) {
  gpu::write_flag(meeting_.given, ++meeting_.n_given);
  if (pass.n() > exec::kFewRows) launch(stretch + 1, pass);
}

}  // namespace dodeca::runtime::device
