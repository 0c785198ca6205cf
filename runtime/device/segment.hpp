// One segment (device_blocks.hpp): its stretches in order, and how a pass goes through them. Used by one member of the
// team at a time; launches and waits, computes nothing itself.
//
// What is the same in every pass of n rows (kernels, copies between fixed places) is kept as a graph when n rows come for the
// first time, for the few rows of generation, and launched as one from then on. Flags and what depends on a pass stay outside.
#pragma once

#include <array>
#include <cmath>
#include <exception>
#include <functional>
#include <vector>

#include "runtime/device/device_ops.hpp"
#include "runtime/exec/pass.hpp"

namespace dodeca::runtime::device {

// Of a row that is finite and not all zero.
inline bool is_norm_factor(float factor) { return std::isfinite(factor) && factor > 0.0f; }

// What all segments of an executor share.
struct Meeting {
  Meeting(gpu::Device& device, const exec::RunSizes& sizes);

  gpu::Device& device;
  gpu::PinnedMemory memory;
  gpu::Flag* told;   // by the device: rows for the processors are there, or the segment has ended
  gpu::Flag* given;  // by the host: the experts' sums are there
  float* factors;    // [M] of the rows that were told
  std::uint32_t n_told = 0, n_given = 0, n_awaited = 0;  // the last: waits for `given` on the stream
  // The first thing that went wrong; the rest of the pass is then not computed on the device.
  std::exception_ptr failure;
  std::int64_t bad_layer = kNoLayer;  // the first with NaN or infinity in front of its experts

  // f(), unless something has gone wrong before; what it throws is the failure.
  template <class F>
  void attempt(F&& f) noexcept {
    if (failure != nullptr) return;
    try {
      f();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  void wait_until_told(std::uint32_t value) noexcept;
  // Launches something more on the stream, and waits for it.
  void do_and_wait(const std::function<void()>& launch, const gpu::Stream& stream) noexcept;
  // Behind a failure, or a pass that ended early: lets what is on the stream come to its end, so that nothing is read or
  // written any more.
  void drain(const gpu::Stream& stream) noexcept;
};

class Segment {
 public:
  // Launches that depend on the pass.
  using Launch = std::function<void(const exec::Pass& pass)>;

  Segment(const DeviceOps& ops, Meeting& meeting) : ops_(ops), meeting_(meeting), stretches_(1) {}

  // Launches that depend on nothing of a pass but the number of its rows.
  using FixedLaunch = std::function<void(std::int64_t n)>;

  // ---- when made ------------------------------------------------------------------------------------------------------
  void add(Launch launch) { stretches_.back().push_back({.of_pass = std::move(launch)}); }
  void add_fixed(FixedLaunch launch);
  // The next stretch waits for what the host gives back. Returns the number of the stretch that it ends.
  std::size_t cut() {
    stretches_.emplace_back();
    return stretches_.size() - 2;
  }

  // ---- in a pass ------------------------------------------------------------------------------------------------------
  // The device has nothing to do yet.
  void begin(const exec::Pass& pass);
  // Waits until the device has told what `stretch` ends with. The next one is launched before that, or for many rows, whose
  // launches could fill the driver's queue, when the host has given back what that one waits for.
  void wait(std::size_t stretch, const exec::Pass& pass);
  void give(std::size_t stretch, const exec::Pass& pass);
  void end() { meeting_.wait_until_told(meeting_.n_told); }

 private:
  void launch(std::size_t stretch, const exec::Pass& pass) noexcept;

  const DeviceOps& ops_;
  Meeting& meeting_;
  // Either depends on the pass, or is a run of launches that do not.
  struct Step {
    Launch of_pass = {};
    std::vector<FixedLaunch> fixed = {};
    std::array<gpu::Graph, exec::kFewRows + 1> graphs = {};  // by the number of rows
  };
  void launch(Step& step, const exec::Pass& pass);
  void keep_graphs(std::int64_t n);

  std::vector<std::vector<Step>> stretches_;
};

}  // namespace dodeca::runtime::device
