#include "bench/kernel_bench.hpp"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>

#include "bench/statistics.hpp"
#include "cpu/kernels/bandwidth/bandwidth.hpp"
#include "cpu/kernels/quantize_act/quantize_act.hpp"
#include "runtime/base/error.hpp"
#include "runtime/model/random_blocks.hpp"

namespace dodeca::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

// Other programs on the core do not count.
double thread_cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

constexpr std::int64_t kDistinctTiles = 64;        // packed anew; the buffer repeats them
constexpr std::int64_t kGroupTiles = 16;           // per call, so that results stay in cache
constexpr std::size_t kSegmentBytes = 8ull << 20;  // per member and sample from memory
constexpr int kLeastSamples = 3;
constexpr std::int64_t kPeakRounds = 4096;  // 10 to 20 us

}  // namespace

KernelBench::KernelBench(cpu::Team& team, const KernelBenchOptions& options)
    : team_(team), options_(options), weights_(options.buffer_bytes), spaces_(team.size()) {}

void KernelBench::use(quant::DType dtype, std::int64_t max_columns) {
  layout_ = &cpu::layout_of(dtype);
  const std::int64_t n_in = options_.n_in;
  tile_bytes_ = layout_->tile_bytes(n_in);
  n_tiles_ = static_cast<std::int64_t>(weights_.size() / tile_bytes_);
  bytes_per_weight_ = static_cast<double>(tile_bytes_) / static_cast<double>(cpu::kTileRows * n_in);

  const std::int64_t n_distinct = std::min(kDistinctTiles, n_tiles_);
  const std::vector<std::byte> rows =
      runtime::random_rows(dtype, n_distinct * cpu::kTileRows, n_in, 1 / std::sqrt(static_cast<double>(n_in)), 1);
  const std::size_t row_bytes = *quant::row_bytes(dtype, n_in);
  cpu::Buffer distinct(n_distinct * tile_bytes_);
  for (std::int64_t tile = 0; tile < n_distinct; ++tile) {
    const std::byte* pointers[cpu::kTileRows];
    for (int r = 0; r < cpu::kTileRows; ++r)
      pointers[r] = rows.data() + static_cast<std::size_t>(tile * cpu::kTileRows + r) * row_bytes;
    layout_->pack(pointers, n_in, distinct.data() + tile * tile_bytes_);
  }
  team_.run([&](const cpu::Member& member) {  // each part by its reader
    const cpu::Range part = member.part(n_tiles_);
    for (std::int64_t tile = part.begin; tile < part.end; ++tile) {
      std::memcpy(weights_.data() + tile * tile_bytes_, distinct.data() + (tile % n_distinct) * tile_bytes_,
                  tile_bytes_);
    }
  });

  act_stride_ = cpu::act_row_bytes(layout_->act, n_in);
  acts_ = cpu::Buffer(act_stride_ * max_columns);
  const std::vector<std::byte> values = runtime::random_blocks(quant::DType::kF32, max_columns * n_in, 1, 2);
  for (std::int64_t i = 0; i < max_columns; ++i) {
    cpu::quantize_act(layout_->act, reinterpret_cast<const float*>(values.data()) + i * n_in, n_in,
                      acts_.data() + i * act_stride_, options_.isa);
  }
  for (Space& space : spaces_) {
    space.out = cpu::Buffer(max_columns * kGroupTiles * cpu::kTileRows * sizeof(float));
    space.scratch = cpu::Buffer(cpu::matmul_scratch_bytes(n_in));
  }
}

void KernelBench::multiply(const cpu::MatmulKernel& kernel, std::int64_t columns, std::int64_t begin,
                           std::int64_t count, Space& space) const {
  for (std::int64_t done = 0; done < count; done += kGroupTiles) {
    const std::int64_t n = std::min(kGroupTiles, count - done);
    kernel.run({.layout = layout_,
                .weights = weights_.data() + (begin + done) * tile_bytes_,
                .n_in = options_.n_in,
                .n_out = n * cpu::kTileRows,
                .tile_begin = 0,
                .tile_end = n,
                .acts = acts_.data(),
                .act_stride = act_stride_,
                .act_rows = nullptr,
                .n_acts = columns,
                .out = space.out.as<float>(),
                .out_stride = n * cpu::kTileRows,
                .scratch = space.scratch.data()});
  }
}

void KernelBench::check(const cpu::MatmulKernel& kernel, const cpu::MatmulKernel& reference, std::int64_t columns) {
  const std::int64_t n = std::min<std::int64_t>(2, n_tiles_), few = std::min<std::int64_t>(columns, 8);
  const auto bytes = few * n * cpu::kTileRows * sizeof(float);
  Space& space = spaces_.front();
  multiply(reference, few, 0, n, space);
  const std::vector<std::byte> wanted(space.out.data(), space.out.data() + bytes);
  std::memset(space.out.data(), 0xff, bytes);
  multiply(kernel, few, 0, n, space);
  if (kernel.match == cpu::Match::kExact && std::memcmp(wanted.data(), space.out.data(), bytes) != 0)
    throw runtime::Error(runtime::ErrorKind::kUnsupported,
                         fmt::format("{} gives other results than {} on this machine", kernel.name, reference.name));
}

std::int64_t KernelBench::cached_tiles(std::int64_t most) const {
  const std::int64_t n = std::min(static_cast<std::int64_t>(options_.cache_bytes / tile_bytes_), most);
  for (const std::int64_t whole : {kGroupTiles, std::int64_t{4}}) {
    if (n >= whole) return n / whole * whole;
  }
  return std::max<std::int64_t>(1, n);
}

KernelBench::FromCache KernelBench::from_cache(const cpu::MatmulKernel& kernel, std::int64_t columns,
                                               const cpu::PeakKernel& peak) {
  const std::int64_t n_tiles = cached_tiles(kDistinctTiles);
  std::vector<FromCache> rates(spaces_.size());
  team_.run([&](const cpu::Member& member) {
    const auto index = static_cast<std::size_t>(member.index);
    const std::int64_t first = member.part(n_tiles_).begin;
    multiply(kernel, columns, first, n_tiles, spaces_[index]);
    member.barrier();
    std::vector<double> samples, peak_samples;  // seconds per tile, and per multiply-accumulate
    const Clock::time_point start = Clock::now();
    Clock::time_point before = start;
    std::int64_t at = 0;
    do {
      const std::int64_t n = std::min(kGroupTiles, n_tiles - at);
      multiply(kernel, columns, first + at, n, spaces_[index]);
      const Clock::time_point middle = Clock::now();
      samples.push_back(seconds_between(before, middle) / static_cast<double>(n));
      const double n_macs = peak.run(kPeakRounds);
      before = Clock::now();
      peak_samples.push_back(seconds_between(middle, before) / n_macs);
      at = at + n < n_tiles ? at + n : 0;
    } while (samples.size() < kLeastSamples || seconds_between(start, before) < options_.seconds);
    rates[index] = {static_cast<double>(cpu::kTileRows * options_.n_in) / median(std::move(samples)),
                    1 / median(std::move(peak_samples))};
  });
  FromCache sum;
  for (const FromCache& rate : rates) {
    sum.weights_per_s += rate.weights_per_s;
    sum.peak_macs_per_s += rate.peak_macs_per_s;
  }
  return sum;
}

KernelBench::FromMemory KernelBench::from_memory(const cpu::MatmulKernel& kernel, std::int64_t columns) {
  // Every sample takes the next segment of each member's part, first the plain read, then the kernel: what one of them
  // leaves in cache is a segment that the other does not visit next.
  const std::int64_t part = n_tiles_ / team_.size();
  const std::int64_t n = std::clamp<std::int64_t>(static_cast<std::int64_t>(kSegmentBytes / tile_bytes_), 1, part);
  const auto n_members = static_cast<double>(team_.size());
  std::vector<double> samples[2];  // seconds per segment of all members: read, kernel
  bool done = false;
  team_.run([&](const cpu::Member& member) {
    Space& space = spaces_[member.index];
    const std::int64_t first = member.part(n_tiles_).begin;
    std::uint64_t sink = 0;
    std::int64_t at = 0;
    const Clock::time_point start = Clock::now();
    for (int sample = 0; !done; ++sample) {
      member.barrier();
      const Clock::time_point before = Clock::now();
      if (sample % 2 == 0) {
        const std::size_t bytes = n * tile_bytes_ / 512 * 512;
        sink ^= cpu::xor_of(weights_.data() + (first + at) * tile_bytes_, bytes, options_.isa);
      } else {
        multiply(kernel, columns, first + at, n, space);
      }
      member.barrier();
      if (member.index == 0) {
        const Clock::time_point now = Clock::now();
        samples[sample % 2].push_back(seconds_between(before, now));
        done = samples[1].size() >= kLeastSamples && seconds_between(start, now) >= 2 * options_.seconds;
      }
      at = at + 2 * n <= part ? at + n : 0;
      member.barrier();
    }
    space.out.as<std::uint64_t>()[0] = sink;  // no read can be left out
  });
  const double weights = static_cast<double>(n * cpu::kTileRows * options_.n_in) * n_members;
  return {weights / median(samples[1]), weights * bytes_per_weight_ / median(samples[0])};
}

KernelBench::Times KernelBench::race(std::span<const cpu::MatmulKernel* const> variants,
                                     std::span<const std::int64_t> columns, double seconds) {
  const std::int64_t n_tiles = cached_tiles(kGroupTiles);
  Times times(variants.size(), std::vector<std::vector<double>>(columns.size()));
  std::atomic<bool> done = false;
  team_.run([&](const cpu::Member& member) {
    Space& space = spaces_[member.index];
    const std::int64_t first = member.part(n_tiles_).begin;
    const Clock::time_point start = Clock::now();
    for (int round = 1; !done; ++round) {
      for (std::size_t n = 0; n < columns.size(); ++n) {
        for (std::size_t v = 0; v < variants.size(); ++v) {
          multiply(*variants[v], columns[n], first, n_tiles, space);  // whatever the variant before left in cache
          const double before = thread_cpu_seconds();
          multiply(*variants[v], columns[n], first, n_tiles, space);
          const double taken = thread_cpu_seconds() - before;
          if (member.index == 0) times[v][n].push_back(taken / static_cast<double>(n_tiles));
        }
      }
      if (member.index == 0 && round >= kLeastSamples && seconds_between(start, Clock::now()) >= seconds) done = true;
    }
  });
  return times;
}

}  // namespace dodeca::bench
