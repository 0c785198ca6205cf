#include "runtime/device/stream_measure.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cpu/memory.hpp"
#include "gpu/kernels/multiply.hpp"
#include "quant/check.hpp"
#include "runtime/base/error.hpp"
#include "runtime/device/streamed_experts.hpp"
#include "runtime/exec/block.hpp"
#include "runtime/exec/multiply.hpp"

namespace dodeca::runtime::device {
namespace {

// How often each product is done: the fastest counts.
constexpr int kRepetitions = 3;
// Weights together: more than caches hold.
constexpr std::uint64_t kBytes = std::uint64_t{1} << 30;
constexpr std::int64_t kTilesAtOnce = 16;

template <class F>
double least_seconds(F&& f) {
  double least = 1e30;
  for (int i = 0; i < kRepetitions; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    least = std::min(least, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return least;
}

class StreamBench {
 public:
  StreamBench(gpu::Device& device, cpu::Team& team, const Plan& plan)
      : device_(device), team_(team), stream_(device.make_stream()) {
    const BlockPlan* block = first_streamable(plan);
    if (block == nullptr)
      throw Error(ErrorKind::kBadRequest, "the model has no routed experts that the device multiplies");
    plans_ = expert_plans(plan, *block);
    for (const WeightPlan* weight : plans_) expert_bytes_ += unplaced_matrix(*weight).slice_bytes;
    macs_ = static_cast<double>(expert_macs(plan.config));
    n_experts_ = std::min<std::int64_t>(std::max<std::int64_t>(2, static_cast<std::int64_t>(kBytes / expert_bytes_)),
                                        plans_[0]->n_slices);
    host_ = cpu::Slab((expert_bytes_ + 3 * 4096) * static_cast<std::uint64_t>(n_experts_) + (std::size_t{8} << 20), {});
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      matrices_[i] = runtime::unplaced(*plans_[i]).front();
      matrices_[i].n_slices = n_experts_;
      matrices_[i].data = host_.take(matrices_[i].bytes());
      // Every page is there, and no value is special: small scales and codes.
      std::fill_n(matrices_[i].data, matrices_[i].bytes(), std::byte{0x11});
    }
  }

  StreamSpeeds measure() {
    const auto n = static_cast<double>(n_experts_);
    const ExpertCosts host = expert_costs(on_host(kFewerStreamRows) / n, on_host(kMoreStreamRows) / n),
                      device = expert_costs(on_device(kFewerStreamRows) / n, on_device(kMoreStreamRows) / n);
    const auto bytes = static_cast<double>(expert_bytes_);
    return {.link_bytes_per_s = link(),
            .device_bytes_per_s = bytes / device.expert,
            .device_macs_per_s = macs_ / device.row,
            .host_bytes_per_s = bytes / host.expert,
            .host_macs_per_s = macs_ / host.row};
  }

 private:
  double on_host(std::int64_t n_rows) {
    std::size_t act_bytes = 0, scratch_bytes = 0;
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      act_bytes = std::max(act_bytes, act_stride(i) * static_cast<std::size_t>(n_rows));
      scratch_bytes = std::max(scratch_bytes, exec::multiply_scratch_bytes(*plans_[i]));
    }
    scratch_bytes = (scratch_bytes + 4095) / 4096 * 4096;
    // Results of a member's unit, over and over.
    constexpr std::int64_t kWidth = kTilesAtOnce * cpu::kTileRows;
    const auto out_floats = static_cast<std::size_t>(kWidth * n_rows);
    const cpu::Buffer acts(act_bytes), out(out_floats * sizeof(float) * static_cast<std::size_t>(team_.size())),
        scratch(scratch_bytes * static_cast<std::size_t>(team_.size()));
    cpu::WorkCounter units;
    return least_seconds([&] {
      units.reset();
      team_.run([&](const cpu::Member& member) noexcept {
        std::int64_t first = 0, mine = units.take();
        for (std::size_t i = 0; i < plans_.size(); ++i) {
          const std::int64_t each = (matrices_[i].n_tiles + kTilesAtOnce - 1) / kTilesAtOnce;
          for (; mine < first + each * n_experts_; mine = units.take()) {
            const std::int64_t begin = (mine - first) % each * kTilesAtOnce;
            exec::multiply(
                {.weight = matrices_[i],
                 .slice = (mine - first) / each,
                 .tile_begin = begin,
                 .tile_end = std::min(matrices_[i].n_tiles, begin + kTilesAtOnce),
                 .acts = acts.data(),
                 .act_stride = act_stride(i),
                 .n_acts = n_rows,
                 .out = out.as<float>() + out_floats * static_cast<std::size_t>(member.index) - begin * cpu::kTileRows,
                 .out_stride = kWidth,
                 .scratch = scratch.data() + scratch_bytes * static_cast<std::size_t>(member.index),
                 .prompt = true});
          }
          first += each * n_experts_;
        }
      });
    });
  }

  double on_device(std::int64_t n_rows) {
    const std::int64_t slots = n_rows * n_experts_;
    std::size_t act_bytes = 0, out_floats = 0;
    std::array<gpu::DeviceMemory, 3> weights;
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      act_bytes = std::max(act_bytes, act_stride(i) * static_cast<std::size_t>(slots));
      out_floats = std::max(out_floats, static_cast<std::size_t>(plans_[i]->n_out * slots));
      weights[i] = device_.allocate(matrices_[i].bytes());
      device_.fill(stream_, weights[i].data(), 0x11, weights[i].bytes());
    }
    const gpu::DeviceMemory acts = device_.allocate(act_bytes), out = device_.allocate(out_floats * sizeof(float)),
                            begins = device_.allocate(static_cast<std::size_t>(n_experts_ + 1) * sizeof(std::int32_t));
    std::vector<std::int32_t> begin;
    for (std::int64_t e = 0; e <= n_experts_; ++e) begin.push_back(static_cast<std::int32_t>(e * n_rows));
    device_.copy_to_device(stream_, begins.data(), begin.data(), begins.bytes());
    device_.fill(stream_, acts.data(), 0, acts.bytes());
    device_.synchronize(stream_);
    std::size_t n_partials = 0, n_counters = 0;
    std::array<gpu::MultiplyLaunch, 3> launches;
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      gpu::MultiplyArgs args{};
      args.weights = weights[i].data();
      args.acts = acts.data();
      args.group_begin = reinterpret_cast<const std::int32_t*>(begins.data());
      args.out = reinterpret_cast<float*>(out.data());
      args.slice_bytes = static_cast<std::int64_t>(matrices_[i].slice_bytes());
      args.act_stride = static_cast<std::int64_t>(act_stride(i));
      args.out_stride = plans_[i]->n_out;
      args.n_in = static_cast<std::int32_t>(plans_[i]->n_in);
      args.n_out = static_cast<std::int32_t>(plans_[i]->n_out);
      args.n_rows = static_cast<std::int32_t>(n_rows);
      args.n_groups = static_cast<std::int32_t>(n_experts_);
      launches[i] = gpu::plan_multiply(plans_[i]->dtype, args, std::max(1, device_.info().multiprocessors));
      n_partials = std::max(n_partials, launches[i].n_partials);
      n_counters = std::max(n_counters, launches[i].n_counters);
    }
    const gpu::DeviceMemory partials = device_.allocate((n_partials + 64) * sizeof(float)),
                            counters = device_.allocate((n_counters + 64) * sizeof(std::uint32_t));
    device_.fill(stream_, counters.data(), 0, counters.bytes());
    device_.synchronize(stream_);
    return least_seconds([&] {
      for (gpu::MultiplyLaunch& launch : launches) {
        launch.args.partials = reinterpret_cast<float*>(partials.data());
        launch.args.counters = reinterpret_cast<std::uint32_t*>(counters.data());
        device_.launch(stream_, launch.kernel, launch.grid, &launch.args, sizeof launch.args);
      }
      device_.synchronize(stream_);
    });
  }

  double link() {
    const PackedMatrix& largest =
        *std::ranges::max_element(matrices_, {}, [](const PackedMatrix& m) { return m.bytes(); });
    const gpu::DeviceMemory to = device_.allocate(largest.bytes());
    std::optional<gpu::RegisteredRange> pinned;
    try {
      pinned = device_.register_host(largest.data, (largest.bytes() + 4095) / 4096 * 4096);
    } catch (const std::exception&) {  // then weights will be copied as they are, too
    }
    return static_cast<double>(largest.bytes()) / least_seconds([&] {
             device_.copy_to_device(stream_, to.data(), largest.data, largest.bytes());
             device_.synchronize(stream_);
           });
  }

  std::size_t act_stride(std::size_t i) const {
    return (cpu::act_row_bytes(plans_[i]->layout->act, plans_[i]->n_in) + 63) / 64 * 64;
  }

  gpu::Device& device_;
  cpu::Team& team_;
  gpu::Stream stream_;
  std::array<const WeightPlan*, 3> plans_ = {};
  std::array<PackedMatrix, 3> matrices_;
  std::uint64_t expert_bytes_ = 0;
  double macs_ = 0;
  std::int64_t n_experts_ = 0;
  cpu::Slab host_;
};

}  // namespace

ExpertCosts expert_costs(double fewer_seconds, double more_seconds) {
  // Noise must not make a row cost nothing, nor an expert.
  const double row = std::max(more_seconds - fewer_seconds, 1e-12) / (kMoreStreamRows - kFewerStreamRows),
               rows = row * kFewerStreamRows;
  return {std::max(fewer_seconds - rows, 0.05 * rows), row};
}

StreamSetting stream_setting(const Plan& plan, std::string_view processor, int n_threads, std::string_view device) {
  std::string types;
  if (const BlockPlan* block = first_streamable(plan); block != nullptr) {
    for (const WeightPlan* w : expert_plans(plan, *block))
      types += fmt::format("{}{} {}x{}", types.empty() ? "" : ", ", quant::name_of(w->dtype), w->n_out, w->n_in);
  }
  return {.machine = fmt::format("{}, {} threads, {}", processor, n_threads, device), .types = types};
}

StreamSpeeds measure_stream_speeds(gpu::Device& device, cpu::Team& team, const Plan& plan) {
  return StreamBench(device, team, plan).measure();
}

}  // namespace dodeca::runtime::device
