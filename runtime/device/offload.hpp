// Which blocks of a plan a card takes, within its memory: what every token reads and the cache of its layers first, then
// the experts of whole layers in the room that is left. A pure function; where all does not fit, it gives up one thing
// after the other and says so.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/device/device_demand.hpp"
#include "runtime/plan/plan.hpp"

namespace dodeca::runtime::device {

// A place for the weights whose names a regular expression (ECMAScript) finds itself in; the first rule that matches.
struct PlaceRule {
  std::string pattern;
  Place place = Place::kCpu;
};

// What decides which experts stream to a device (stream_schedule.hpp), each alone, per second.
struct StreamSpeeds {
  double link_bytes_per_s = 0;                           // from memory to the device
  double device_bytes_per_s = 0, device_macs_per_s = 0;  // products of many rows there: weights read, and multiplied
  double host_bytes_per_s = 0, host_macs_per_s = 0;      // and on all processors together
};

struct OffloadOptions {
  std::optional<std::int64_t> n_layers = {};   // the head and the last n - 1 layers, as -ngl counts; none: what fits
  std::optional<std::int64_t> n_cpu_moe = {};  // experts of the first n layers stay in memory; none: what does not fit
  std::vector<PlaceRule> rules = {};
  bool hot_experts = false;  // room that is left: experts that the run uses most, not whole layers of experts
  std::optional<StreamSpeeds> stream_speeds = {};  // none: experts in memory do not stream to the device
  std::int64_t n_deferred = 0;  // of a row's experts, those that weigh least may be added one layer later
};

// What a run asks for.
struct OffloadRun {
  exec::RunSizes sizes = {};
  quant::DType cache_type = quant::DType::kF16;  // of the cache in memory
};

struct Offload {
  Machine::Device device;
  std::uint64_t budget = 0;                                                 // bytes that may be used
  std::uint64_t weights = 0, experts = 0, cache = 0, work = 0, margin = 0;  // bytes; `weights` without routed experts
  std::uint64_t hot_experts = 0;                                            // bytes of their slots
  std::uint64_t stream_buffers = 0;                                         // bytes of what streamed experts come into
  quant::DType cache_type = quant::DType::kF16;    // of the device's layers: F16, BF16, I8; F32 on the reference route
  std::int64_t micro_batch = 0;                    // rows of a pass
  std::int64_t n_layers = 0, n_expert_layers = 0;  // on the device
  std::int64_t n_hot_layers = 0, n_hot_slots = 0;  // layers with slots for experts, and slots of each
  std::int64_t n_stream_buffers = 0, n_streamed_layers = 0;
  std::optional<StreamSpeeds> stream_speeds = {};
  std::uint64_t decompression =
      0;                         // of `weights`, bytes of what prompts' keys and values are made with; 0: they are not
  std::int64_t n_deferring = 0;  // layers of which some experts are added later
  std::vector<std::string> given_up = {};  // for want of room, a sentence each
  std::vector<std::string> refused = {};   // for want of kernels, likewise

  std::uint64_t bytes() const { return weights + experts + hot_experts + stream_buffers + cache + work; }
  bool any() const { return weights + experts > 0; }
};

// Sets the places of the plan's blocks. Throws Error{kDoesNotFit} when what was asked for by number does not fit, or not
// even one layer does; Error{kBadRequest} for a pattern that is no regular expression.
Offload place_blocks(Plan& plan, const Machine::Device& device, const OffloadOptions& options, const OffloadRun& run);

// Bytes of a cached position in one layer of latent attention on a device.
std::uint64_t device_row_bytes(const ModelConfig& config, quant::DType cache_type);

}  // namespace dodeca::runtime::device
