#include "runtime/device/offload.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <regex>
#include <utility>

#include "gpu/kernels/mla_prompt.hpp"
#include "gpu/kernels/route_rows.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/error.hpp"
#include "runtime/device/device_cache.hpp"
#include "runtime/device/hot_experts.hpp"
#include "runtime/device/streamed_experts.hpp"
#include "runtime/exec/pass.hpp"

namespace dodeca::runtime::device {
namespace {

using enum WeightRole;

// What other programs, the driver, graphs and fragments of memory may take while we run.
constexpr std::uint64_t kMargin = std::uint64_t{512} << 20;
// Rows of a pass on the device: at most, because all of a layer's streamed experts cross the link in every pass; before other
// things are given up for more; at least.
constexpr std::int64_t kMostRows = 16384, kManyRows = 256, kFewestRows = 32;
// Two buffers keep the link and the products busy; the others take what comes first in the next layer, while attention
// has the device. A wave is a small part of a layer, because the products of its last one begin when everything has been
// copied.
constexpr std::int64_t kStreamBuffers = 8, kFewestStreamBuffers = 3, kWavesOfLayer = 16, kMostWaveExperts = 16;

// How much the device shall take; give_up() has the order in which things are given up.
struct Wish {
  std::int64_t micro_batch = kManyRows, n_buffers = kStreamBuffers;
  quant::DType cache_type = quant::DType::kF16;
  bool decompress = true, stream = true, head = true, dense = true;
  std::int64_t first_layer = 0;
};

class Placement {
 public:
  Placement(Plan& plan, const Machine::Device& device, const OffloadOptions& options, const OffloadRun& run)
      : plan_(plan), config_(plan.config), options_(options), run_(run) {
    result_.device = device;
    result_.margin = std::min(kMargin, device.free_bytes / 16);
    result_.budget = device.free_bytes - result_.margin;
    for (const PlaceRule& rule : options.rules) rules_.emplace_back(expression(rule.pattern), rule.place);
  }

  Offload choose() {
    Wish wish;
    result_.stream_speeds = options_.stream_speeds;
    wish.stream = options_.stream_speeds.has_value() && !plan_.options.compute_f32;
    const std::int64_t short_prompt = short_prompt_rows(config_);  // 0: absorbed form never takes longer
    wish.decompress = !plan_.options.compute_f32 && short_prompt > 0 && run_.sizes.micro_batch > short_prompt &&
                      gpu::can_attend_prompt(static_cast<std::int32_t>(config_.qk_nope_head_dim),
                                             static_cast<std::int32_t>(config_.qk_rope_head_dim),
                                             static_cast<std::int32_t>(config_.v_head_dim));
    wish.micro_batch = std::min(run_.sizes.micro_batch, kMostRows);
    if (run_.cache_type == quant::DType::kBF16) wish.cache_type = quant::DType::kBF16;
    if (plan_.options.compute_f32) wish.cache_type = quant::DType::kF32;
    if (run_.cache_type == quant::DType::kQ8_0 || run_.cache_type == quant::DType::kI8)
      wish.cache_type = quant::DType::kI8;
    const bool counted = options_.n_layers.has_value();
    if (counted) {
      wish.head = *options_.n_layers > 0;
      wish.first_layer = config_.n_layers - std::clamp<std::int64_t>(*options_.n_layers - 1, 0, config_.n_layers);
    }
    while (!fits(wish)) give_up(wish, counted);
    add_expert_layers();
    if (options_.hot_experts) add_hot_experts();
    if (result_.n_streamed_layers == 0) result_.n_stream_buffers = 0;
    result_.stream_buffers = stream_buffer_bytes(plan_, result_.n_stream_buffers);
    defer_experts();
    place_weights();
    for (const auto& [what, n] : refused_) result_.refused.push_back(fmt::format(fmt::runtime(what), n));
    return std::move(result_);
  }

 private:
  static std::regex expression(const std::string& pattern) {
    try {
      return std::regex(pattern, std::regex::ECMAScript | std::regex::optimize);
    } catch (const std::regex_error& error) {
      throw Error(ErrorKind::kBadRequest, fmt::format("'{}' is no regular expression: {}", pattern, error.what()));
    }
  }

  // ---- what a block could do ----------------------------------------------------------------------------------------

  const WeightPlan& weight(std::size_t i) const { return plan_.weights[i]; }
  static bool is_expert(const WeightPlan& w) { return is_routed(w.id.role); }

  // Why the device cannot run a block's weights, routed experts or the others; empty: it can.
  std::string refusal(const BlockPlan& block, bool experts) const {
    if (block.kind == BlockKind::kGqaAttention) return "the device has no attention with grouped queries yet";
    if (block.n_parts() != 1) return "a block that is cut into parts runs on the processors";
    if (block.kind == BlockKind::kMlaAttention && config_.is_sparse(block.layer))
      return "the device has no sparse attention yet";
    if (block.kind == BlockKind::kMlaAttention &&
        (config_.kv_lora_rank % 64 != 0 || config_.kv_lora_rank > 512 || config_.qk_rope_head_dim % 16 != 0 ||
         config_.qk_rope_head_dim > 128))
      return fmt::format("the device has no attention for latent rows of {} + {} values", config_.kv_lora_rank,
                         config_.qk_rope_head_dim);
    if (block.kind == BlockKind::kMlaAttention && (config_.qk_nope_head_dim + config_.qk_rope_head_dim) % 16 != 0)
      return fmt::format("the device has no attention for heads of {} + {} values", config_.qk_nope_head_dim,
                         config_.qk_rope_head_dim);
    if (block.kind == BlockKind::kMoeFfn &&
        (config_.router_bias || config_.expert_bias || config_.activation != ActivationKind::kSwiGlu))
      return "the device has no experts with biases and a clamped activation";
    if (block.kind == BlockKind::kMoeFfn &&
        (config_.n_routed_experts > gpu::kMostRoutedExperts || config_.n_group > gpu::kMostExpertGroups))
      return fmt::format("the device routes to {} experts in {} groups at most", gpu::kMostRoutedExperts,
                         gpu::kMostExpertGroups);
    for (const std::size_t i : block.weights) {
      const WeightPlan& w = weight(i);
      if (is_expert(w) != experts || w.layout == nullptr) continue;
      if (device_layout(w) == nullptr) return fmt::format("the device has no product with {}", quant::name_of(w.dtype));
    }
    return {};
  }

  // What a rule says of the block's weights; the processors where rules differ.
  std::optional<Place> ruled(const BlockPlan& block, bool experts) const {
    std::optional<Place> place;
    for (const std::size_t i : block.weights) {
      if (is_expert(weight(i)) != experts) continue;
      for (const auto& [pattern, wanted] : rules_) {
        if (!std::regex_search(weight(i).name, pattern)) continue;
        place = place.value_or(wanted) == wanted ? wanted : Place::kCpu;
        break;
      }
    }
    return place;
  }

  // ---- places -------------------------------------------------------------------------------------------------------

  void place(BlockPlan& block, const Wish& wish) {
    block.place = block.experts_place = Place::kCpu;
    block.n_hot_experts = block.n_deferred = block.n_wave_experts = 0;
    block.adds_deferred = block.decompresses = false;
    if (block.kind == BlockKind::kEmbedding) {
      block.reason = "a row is looked up";
      return;
    }
    if (block.kind == BlockKind::kMtp || block.layer >= config_.n_layers) {
      block.reason = "it does not run yet";
      return;
    }
    if (const std::string why = refusal(block, false); !why.empty()) {
      block.reason = why;
      if (block.layer >= wish.first_layer) ++refused_["{} blocks run on the processors: " + why];
      return;
    }
    if (const std::optional<Place> rule = ruled(block, false)) {
      block.place = *rule;
      block.reason = "a rule says so";
      return;
    }
    const bool wanted = block.kind == BlockKind::kHead       ? wish.head
                        : block.kind == BlockKind::kDenseFfn ? wish.dense && block.layer >= wish.first_layer
                                                             : block.layer >= wish.first_layer;
    block.place = wanted ? Place::kDevice : Place::kCpu;
    block.reason = wanted ? "read for every token" : "the device has no room";
  }

  std::uint64_t bytes_of(const BlockPlan& block, bool experts) const {
    std::uint64_t bytes = 0;
    for (const std::size_t i : block.weights) {
      if (is_expert(weight(i)) == experts) bytes += device_weight_bytes(weight(i));
    }
    return bytes;
  }

  // Places everything as wished and counts; whether it fits.
  bool fits(const Wish& wish) {
    result_.weights = result_.experts = result_.hot_experts = result_.cache = result_.decompression = 0;
    result_.n_layers = 0;
    refused_.clear();
    result_.cache_type = wish.cache_type;
    result_.micro_batch = wish.micro_batch;
    for (BlockPlan& block : plan_.blocks) {
      place(block, wish);
      if (block.place == Place::kCpu) continue;
      result_.weights += bytes_of(block, false);
      if (block.kind != BlockKind::kMlaAttention) continue;
      ++result_.n_layers;
      block.decompresses = wish.decompress;
      if (wish.decompress) result_.decompression += decompression_bytes(config_);
      const std::int64_t positions = exec::BlockTable::blocks_for(run_.sizes.n_positions) * gpu::kCacheBlock;
      result_.cache += static_cast<std::uint64_t>(positions) * device_row_bytes(config_, wish.cache_type);
    }
    result_.weights += result_.decompression;
    stream(wish);
    count_work();
    return result_.bytes() <= result_.budget;
  }

  // Buffers for the experts in memory.
  void stream(const Wish& wish) {
    result_.n_streamed_layers = 0;
    if (wish.stream && wish.micro_batch > exec::kFewRows) {
      for (BlockPlan& block : plan_.blocks) {
        if (!experts_in_memory(block) || !refusal(block, true).empty()) continue;
        block.n_wave_experts = std::clamp<std::int64_t>(config_.n_routed_experts / kWavesOfLayer, 1, kMostWaveExperts);
        ++result_.n_streamed_layers;
      }
    }
    result_.n_stream_buffers = result_.n_streamed_layers > 0 ? wish.n_buffers : 0;
    if (result_.n_streamed_layers > 0 && least_streamed_rows(plan_, result_) < 0) {
      refused_[fmt::format("the experts of {{}} layers do not stream to the device: passes of {} rows gain nothing",
                           wish.micro_batch)] = static_cast<int>(result_.n_streamed_layers);
      for (BlockPlan& block : plan_.blocks) block.n_wave_experts = 0;
      result_.n_streamed_layers = result_.n_stream_buffers = 0;
    }
    result_.stream_buffers = stream_buffer_bytes(plan_, result_.n_stream_buffers);
  }

  void count_work() {
    exec::RunSizes sizes = run_.sizes;
    sizes.micro_batch = result_.micro_batch;
    result_.work = device_demand(plan_, sizes, result_.device.multiprocessors).bytes();
  }

  std::string numbers() const {
    return fmt::format(
        "{:.2f} GiB of the device's memory are needed (weights {:.2f}, cache {:.2f}, work space {:.2f}), "
        "{:.2f} GiB may be used",
        gib(result_.bytes()), gib(result_.weights), gib(result_.cache), gib(result_.work), gib(result_.budget));
  }

  // The next thing in the order of Wish. `counted`: how many layers run on the device is not ours to change.
  void give_up(Wish& wish, bool counted) {
    const auto say = [&](std::string what) {
      result_.given_up.push_back(fmt::format("{}: with more, {}", what, numbers()));
    };
    if (result_.n_streamed_layers > 0 && wish.n_buffers > kFewestStreamBuffers) {
      wish.n_buffers = kFewestStreamBuffers;
      return say(fmt::format("streamed experts come into {} buffers", wish.n_buffers));
    }
    if (result_.decompression > 0 && wish.micro_batch <= kManyRows) {
      wish.decompress = false;
      return say("prompts attend in absorbed form");
    }
    if (result_.n_streamed_layers > 0 && wish.micro_batch <= kManyRows) {
      wish.stream = false;
      return say("experts do not stream to the device");
    }
    if (wish.micro_batch > kFewestRows) {
      wish.micro_batch = std::max(kFewestRows, wish.micro_batch / 2);
      std::erase_if(result_.given_up, [](const std::string& told) { return told.starts_with("a pass on the device"); });
      return say(fmt::format("a pass on the device has {} rows", wish.micro_batch));
    }
    if (wish.cache_type != quant::DType::kI8 && !plan_.options.compute_f32) {
      wish.cache_type = quant::DType::kI8;
      return say("the cache on the device has integers of 8 bits");
    }
    if (counted) throw Error(ErrorKind::kDoesNotFit, numbers()).with(Remedy::kLessOnDevice);
    if (wish.head) {
      wish.head = false;
      return say("the output head runs on the processors");
    }
    if (wish.dense) {
      wish.dense = false;
      return say("the dense feed-forward layers run on the processors");
    }
    if (++wish.first_layer >= config_.n_layers) {
      throw Error(ErrorKind::kDoesNotFit, "not even one layer fits: " + numbers()).with(Remedy::kLessOnDevice);
    }
    if (told_layers_) result_.given_up.pop_back();
    told_layers_ = true;
    say(fmt::format("layers 0 to {} run on the processors", wish.first_layer - 1));
  }

  // The experts of whole layers, from the last one on, in the room that is left; with slots for hot experts, only those that
  // are asked for.
  void add_expert_layers() {
    for (auto block = plan_.blocks.rbegin(); block != plan_.blocks.rend(); ++block) {
      if (block->kind != BlockKind::kMoeFfn || block->place != Place::kDevice) continue;
      const std::optional<Place> rule = ruled(*block, true);
      const bool counted = options_.n_cpu_moe.has_value() && block->layer >= *options_.n_cpu_moe,
                 forced = rule == Place::kDevice || (!rule && counted);
      if (rule == Place::kCpu || (!forced && (options_.n_cpu_moe || options_.hot_experts))) continue;
      if (const std::string why = refusal(*block, true); !why.empty()) {
        block->reason += "; experts: " + why;
        if (forced) ++refused_["the experts of {} layers stay in memory: " + why];
        continue;
      }
      const std::uint64_t bytes = bytes_of(*block, true), had = result_.bytes(), work = result_.work;
      const std::int64_t wave = std::exchange(block->n_wave_experts, 0);
      block->experts_place = Place::kDevice;
      result_.experts += bytes;
      count_work();
      if (result_.bytes() <= result_.budget) {
        ++result_.n_expert_layers;
        if (wave > 0) --result_.n_streamed_layers;
        continue;
      }
      block->experts_place = Place::kCpu;
      block->n_wave_experts = wave;
      result_.experts -= bytes;
      result_.work = work;
      if (!forced) continue;
      throw Error(
          ErrorKind::kDoesNotFit,
          fmt::format("the experts of layer {} need {:.2f} GiB of the device's memory, {:.2f} of {:.2f} GiB are left",
                      block->layer, gib(bytes), gib(result_.budget - had), gib(result_.budget)))
          .with(Remedy::kLessOnDevice);
    }
  }

  // Slots for experts: as many in every layer whose experts are in memory as the room that is left holds.
  void add_hot_experts() {
    const auto give_slots = [&](std::int64_t n) {
      result_.n_hot_layers = 0;
      for (BlockPlan& block : plan_.blocks) {
        block.n_hot_experts = 0;
        if (!experts_in_memory(block) || !refusal(block, true).empty()) continue;
        block.n_hot_experts = n;
        ++result_.n_hot_layers;
      }
      result_.n_hot_slots = n;
      result_.hot_experts = n > 0 && result_.n_hot_layers > 0 ? hot_expert_bytes(plan_) : 0;
      count_work();
      return result_.bytes() <= result_.budget;
    };
    std::int64_t fitting = 0, too_many = config_.n_routed_experts + 1;
    while (too_many - fitting > 1) {
      const std::int64_t n = (fitting + too_many) / 2;
      (give_slots(n) ? fitting : too_many) = n;
    }
    give_slots(fitting);
    if (fitting == 0) result_.n_hot_layers = 0;
  }

  static bool experts_in_memory(const BlockPlan& block) {
    return block.kind == BlockKind::kMoeFfn && block.place == Place::kDevice && block.experts_place == Place::kCpu;
  }

  // A layer's late experts are added where the next one's are: both in memory, and nothing in between that is not on the
  // device.
  void defer_experts() {
    const std::int64_t n = std::min(options_.n_deferred, config_.n_experts_per_tok - 1);
    if (n <= 0) return;
    BlockPlan* before = nullptr;
    for (BlockPlan& block : plan_.blocks) {
      if (block.place != Place::kDevice) before = nullptr;
      if (block.kind != BlockKind::kMoeFfn) continue;
      const bool here = experts_in_memory(block);
      if (here && before != nullptr) {
        before->n_deferred = n;
        block.adds_deferred = true;
        ++result_.n_deferring;
      }
      before = here ? &block : nullptr;
    }
  }

  void place_weights() {
    for (WeightPlan& w : plan_.weights) w.place = Place::kDevice;
    for (const BlockPlan& block : plan_.blocks) {
      for (const std::size_t i : block.weights) {
        if (block.place_of(weight(i).id.role) == Place::kCpu) plan_.weights[i].place = Place::kCpu;
      }
    }
    plan_.bytes = 0;
    for (const WeightPlan& w : plan_.weights) plan_.bytes += w.place == Place::kCpu ? w.bytes : 0;
  }

  Plan& plan_;
  const ModelConfig& config_;
  const OffloadOptions& options_;
  const OffloadRun& run_;
  std::vector<std::pair<std::regex, Place>> rules_;
  Offload result_;
  bool told_layers_ = false;
  std::map<std::string, int> refused_;  // sentences with a place for how many
};

}  // namespace

std::uint64_t device_row_bytes(const ModelConfig& config, quant::DType cache_type) {
  return static_cast<std::uint64_t>(gpu::cache_row_bytes(cache_shape(config, cache_type)));
}

Offload place_blocks(Plan& plan, const Machine::Device& device, const OffloadOptions& options, const OffloadRun& run) {
  return Placement(plan, device, options, run).choose();
}

}  // namespace dodeca::runtime::device
