// Prompts with experts that stream to a device: of every routed layer some experts' weights are copied over the link, wave
// after wave into a few buffers, and multiplied there, while the processors compute the other experts. Which they are and in
// what order all of it happens is data, made here once the router has chosen. streamed_experts.hpp does it on a device,
// runtime/predict/stream_clock.hpp with a virtual clock.
//
// The rule of a buffer: wave w lies in buffer w mod n. It is copied when wave w - n has been multiplied, and multiplied when
// it has been copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace dodeca::runtime::device {

// What things take, in seconds, each alone.
struct StreamRates {
  double copied_expert = 0;                  // an expert's weights over the link
  double device_expert = 0, device_row = 0;  // an expert with rows on the device, and each of its rows more
  double host_expert = 0, host_row = 0;      // the same on all processors together
};

struct StreamShape {
  int n_buffers = 0;              // 0: nothing streams
  std::int64_t wave_experts = 0;  // of a wave, at most
};

// Experts that are multiplied together, from one buffer. slice[i] of the buffer is experts[i], which has n_rows[i] rows.
struct Wave {
  std::vector<std::int32_t> experts;
  std::vector<std::int32_t> n_rows;
  std::int64_t rows() const;
};

struct Division {
  std::vector<Wave> waves;                      // in their order; none: the processors compute all
  double device_seconds = 0, host_seconds = 0;  // as the rates say; the layer takes the longer one
};

// Copies that were begun before a layer's rows were known: waves, and the seconds that the link had for them.
struct Prefetched {
  std::span<const std::vector<std::int32_t>> waves;
  double seconds = 0;
};
// Divides a layer's experts so that device and processors end together. n_rows: of each expert, with 0 it is nobody's.
// What was prefetched are the first waves whatever they have now, also no rows. The rest of the waves have the experts with
// the most rows, of equal ones those that come first; within a wave they ascend. A pure function.
Division divide_experts(std::span<const std::int32_t> n_rows, const StreamShape& shape, const StreamRates& rates,
                        const Prefetched& prefetched = {});

// What is copied ahead of a layer's routing in a pass of n_rows: the first experts, so many as would stream were all alike, and no
// more than the buffers hold. seconds: that the link has for it.
std::vector<std::vector<std::int32_t>> waves_ahead(std::int64_t n_experts, std::int64_t n_used, std::int64_t n_rows,
                                                   const StreamShape& shape, const StreamRates& rates, double seconds);

// Rows of a pass, all experts alike likely, from which on streaming gains at least `gain` of the experts' time; -1: never
// up to most_rows.
std::int64_t least_streamed_rows(std::int64_t n_experts, std::int64_t n_used, std::int64_t most_rows,
                                 const StreamShape& shape, const StreamRates& rates, double gain);

// ---- the order of things ---------------------------------------------------------------------------------------------

enum class StreamActor { kLink, kDevice, kHost };  // each does one thing at a time, in the order of the steps
inline constexpr int kStreamActors = 3;

enum class StreamWork {
  kRoute,     // device: the blocks up to the layer's router, and its rows told to the host
  kShared,    // device: the shared expert
  kCopy,      // link: a wave's weights into its buffer
  kMultiply,  // device: a wave times its rows, added to the layer's sums
  kExperts,   // host: the other experts
  kMerge      // device: the host's sums added
};

inline constexpr int kStreamWorks = 6;

struct StreamStep {
  StreamActor actor;
  StreamWork work;
  std::int64_t layer;
  std::int64_t wave = -1;  // of the whole pass, and the buffer it lies in
  std::int64_t buffer = -1;
  std::vector<std::size_t> after;  // steps of other actors that must have ended
};

// The steps of a pass, layer by layer.
class StreamSchedule {
 public:
  explicit StreamSchedule(int n_buffers) : n_buffers_(n_buffers) {}

  // A routed layer: n_waves of its own waves, the first of which prefetch() has announced. Returns its first step.
  std::size_t add_layer(std::int64_t layer, std::int64_t n_waves);
  // Copies of the first waves of a layer that is not there yet. Returns the first of the steps.
  std::size_t prefetch(std::int64_t layer, std::int64_t n_waves);

  const std::vector<StreamStep>& steps() const { return steps_; }

 private:
  std::size_t add(StreamStep step);
  void add_copy(std::int64_t layer, std::vector<std::size_t> after);

  int n_buffers_;
  std::int64_t n_waves_ = 0;  // copied, of the whole pass
  std::int64_t n_multiplied_ = 0;
  std::int64_t n_prefetched_ = 0;               // of the next layer
  std::vector<std::size_t> copies_, products_;  // [wave] the step
  std::vector<StreamStep> steps_;
};

}  // namespace dodeca::runtime::device
