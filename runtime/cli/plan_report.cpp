#include "runtime/cli/plan_report.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "runtime/cli/console.hpp"
#include "runtime/cli/model_options.hpp"

namespace dodeca::runtime::cli {
namespace {

std::string size_text(double bytes) { return bytes_text(bytes); }

// "Q2_K 2, Q6_K 1" of a block's matrices.
std::string types_text(const Plan& plan, const BlockPlan& block) {
  std::map<quant::DType, int> counts;
  for (const std::size_t w : block.weights) {
    if (plan.weights[w].layout != nullptr || block.kind == BlockKind::kEmbedding) ++counts[plan.weights[w].dtype];
  }
  std::vector<std::string> parts;
  for (const auto& [dtype, n] : counts) parts.push_back(fmt::format("{} {}", quant::name_of(dtype), n));
  return fmt::format("{}", fmt::join(parts, ", "));
}

// Blocks of consecutive layers that were planned alike.
struct BlockGroup {
  const BlockPlan* first;
  std::int64_t n = 1, last_layer = kNoLayer;
  std::string types;
  bool takes(const BlockPlan& block, const std::string& block_types) const {
    return first->kind == block.kind && first->bytes == block.bytes && first->place == block.place &&
           types == block_types;
  }
  std::string layers() const {
    if (first->layer == kNoLayer) return "";
    return n == 1 ? std::to_string(first->layer) : fmt::format("{}-{}", first->layer, last_layer);
  }
};

std::vector<BlockGroup> groups_of(const Plan& plan) {
  std::vector<BlockGroup> groups;
  std::map<BlockKind, std::size_t> last;  // group of the last block of a kind
  for (const BlockPlan& block : plan.blocks) {
    const std::string types = types_text(plan, block);
    const auto at = last.find(block.kind);
    if (at != last.end() && groups[at->second].takes(block, types)) {
      ++groups[at->second].n;
      groups[at->second].last_layer = block.layer;
      continue;
    }
    last[block.kind] = groups.size();
    groups.push_back({&block, 1, block.layer, types});
  }
  return groups;
}

std::string blocks_text(const Plan& plan) {
  std::string text = fmt::format("\n{:<22} {:>8} {:<6} {:>5} {:>12} {:>12} {:>12}  {}\n", "block", "layers", "place",
                                 "parts", "memory", "per token", "per prompt", "weights of a block");
  double per_pass = 0;
  for (const BlockGroup& group : groups_of(plan)) {
    const BlockPlan& block = *group.first;
    const auto n = static_cast<double>(group.n);
    per_pass += static_cast<double>(block.bytes_per_pass) * n;
    text += fmt::format("{:<22} {:>8} {:<6} {:>5} {:>12} {:>12} {:>12}  {}\n", name_of(block.kind), group.layers(),
                        name_of(block.place), block.n_parts(), size_text(static_cast<double>(block.bytes) * n),
                        size_text(block.bytes_per_token * n), size_text(static_cast<double>(block.bytes_per_pass) * n),
                        group.types);
  }
  return text + fmt::format("{:<22} {:>8} {:<6} {:>5} {:>12} {:>12} {:>12}\n", "all", "", "", "",
                            size_text(static_cast<double>(plan.bytes)), size_text(plan.bytes_per_token),
                            size_text(per_pass));
}

std::string kernel_text(const WeightPlan& w) {
  if (w.place == Place::kDevice) return "on the device";
  if (w.gemv == nullptr) return std::string(name_of(w.storage));
  std::string text =
      fmt::format("{}, {}, from {} rows {}", name_of(w.storage), w.gemv->name, w.gemm_min_rows, w.gemm->name);
  if (w.prompt != nullptr) text += fmt::format(", prompts {}", w.prompt->name);
  if (w.stored_columns() < w.n_in) text += fmt::format(", in pieces of {} columns", w.stored_columns());
  return text;
}

std::string weights_text(const Plan& plan) {
  std::string text;
  for (const BlockPlan& block : plan.blocks) {
    text += fmt::format("\n{} on {}: {}\n", block.name(), name_of(block.place), block.reason);
    for (const std::size_t i : block.weights) {
      const WeightPlan& w = plan.weights[i];
      text += fmt::format("  {:<30} {:<9} {:>10}  {}\n", w.name, quant::name_of(w.dtype),
                          size_text(static_cast<double>(w.bytes)), kernel_text(w));
    }
  }
  const std::vector<std::string> refusals = refusals_of(plan);
  if (!refusals.empty()) text += "\nkernels that do not run here:\n";
  for (const std::string& refusal : refusals) text += "  " + refusal + "\n";
  return text;
}

// Which attention runs, and why; empty where the model has one kind alone.
std::string attention_text(const ModelConfig& c) {
  if (c.indexer.n_heads == 0)
    return c.architecture == "glm-dsa" || c.architecture == "deepseek32" ? "attention: dense, no indexer is used\n"
                                                                         : "";
  std::int64_t n = 0;
  for (std::int64_t layer = 0; layer < c.n_layers; ++layer) n += c.chooses(layer);
  return fmt::format(
      "attention: sparse, rows that see more than {} positions attend to the {} that the indexers of {} of {} layers "
      "choose ({} heads of {}); up to there it is dense\n",
      c.indexer.top_k, c.indexer.top_k, n, c.n_layers, c.indexer.n_heads, c.indexer.head_dim);
}

std::string offload_text(const device::Offload& o) {
  const auto size = [](std::uint64_t bytes) { return size_text(static_cast<double>(bytes)); };
  std::string text = fmt::format(
      "device: {}, weights {}, experts of {} layers {}, cache {} ({}), work space {} ({} rows a pass): {} of {} "
      "(margin {})\n",
      o.device.name, size(o.weights), o.n_expert_layers, size(o.experts), size(o.cache), quant::name_of(o.cache_type),
      size(o.work), o.micro_batch, size(o.bytes()), size(o.budget), size(o.margin));
  if (o.n_hot_layers > 0)
    text += fmt::format("  slots for the experts that a run uses most: {} in each of {} layers, {}\n", o.n_hot_slots,
                        o.n_hot_layers, size(o.hot_experts));
  if (o.n_streamed_layers > 0)
    text += fmt::format("  buffers for experts of {} layers that stream in prompts: {}, {}\n", o.n_streamed_layers,
                        o.n_stream_buffers, size(o.stream_buffers));
  if (o.decompression > 0)
    text += fmt::format("  of the weights, to make prompts' keys and values: {}\n", size(o.decompression));
  if (o.n_deferring > 0)
    text += fmt::format("  the lightest experts of {} layers are added one layer later\n", o.n_deferring);
  for (const std::string& given_up : o.given_up) text += "  " + given_up + "\n";
  for (const std::string& refused : o.refused) text += "  " + refused + "\n";
  return text;
}

}  // namespace

std::string PlannedRun::cache_types() const {
  return cache_types_text(executor.cache_type, executor.value_cache_type.value_or(executor.cache_type));
}

std::string plan_text(const Plan& plan, const PlannedRun& run, bool verbose) {
  const auto size = [](std::uint64_t bytes) { return size_text(static_cast<double>(bytes)); };
  const Machine& machine = plan.machine;
  std::string text = fmt::format("model: {}, {} layers\n", plan.config.name, plan.config.n_layers);
  text += fmt::format("machine: {}, {} cores in {} core complexes, {} memory node{}, {} threads at {}\n", machine.name,
                      machine.n_cores, machine.n_l3, machine.nodes.size(), machine.nodes.size() == 1 ? "" : "s",
                      run.n_threads, cpu::name_of(plan.options.isa));
  if (!run.cards.empty()) text += fmt::format("cards: {}\n", run.cards);
  const std::uint64_t cache = run.cache_bytes(plan), work = run.work_bytes(plan), need = plan.bytes + cache + work,
                      have = machine.available_bytes;
  const bool known = have != ~std::uint64_t{0};
  text += fmt::format("memory: weights {}, cache {} ({} positions, {}), work space {}: {} needed, {}{}\n",
                      size(plan.bytes), size(cache), run.context, run.cache_types(), size(work), size(need),
                      known ? size(have) + " free" : "of how much is not stated",
                      need > have ? fmt::format(": does not fit by {}", size(need - have)) : "");
  text += attention_text(plan.config);
  if (run.offload) text += offload_text(*run.offload);
  for (const std::string& fact : kernel_facts(plan)) text += "kernels of " + fact + "\n";
  text += blocks_text(plan);
  if (verbose) text += weights_text(plan);
  return text;
}

Json plan_json(const Plan& plan, const PlannedRun& run) {
  Json out = {
      {"dodeca_plan", 1},
      {"model", plan.config.name},
      {"machine",
       {{"name", plan.machine.name},
        {"cores", plan.machine.n_cores},
        {"core_complexes", plan.machine.n_l3},
        {"memory_nodes", plan.machine.nodes.size()},
        {"available_bytes",
         plan.machine.available_bytes == ~std::uint64_t{0} ? Json(nullptr) : Json(plan.machine.available_bytes)},
        {"cards", run.cards}}},
      {"isa", cpu::name_of(plan.options.isa)},
      {"threads", run.n_threads},
      {"memory",
       {{"weights", plan.bytes},
        {"cache", run.cache_bytes(plan)},
        {"work_space", run.work_bytes(plan)},
        {"positions", run.context},
        {"cache_type", run.cache_types()}}},
      {"chosen_positions", plan.config.indexer.n_heads > 0 ? Json(plan.config.indexer.top_k) : Json(nullptr)},
      {"bytes_per_token", plan.bytes_per_token}};
  if (run.offload) {
    const device::Offload& o = *run.offload;
    out["device"] = {{"name", o.device.name},
                     {"memory_bytes", o.device.memory_bytes},
                     {"usable_bytes", o.budget},
                     {"weights", o.weights},
                     {"experts", o.experts},
                     {"cache", o.cache},
                     {"cache_type", quant::name_of(o.cache_type)},
                     {"work_space", o.work},
                     {"rows_per_pass", o.micro_batch},
                     {"attention_layers", o.n_layers},
                     {"expert_layers", o.n_expert_layers},
                     {"hot_experts", o.hot_experts},
                     {"hot_slots_per_layer", o.n_hot_slots},
                     {"hot_layers", o.n_hot_layers},
                     {"stream_buffers", o.stream_buffers},
                     {"streamed_layers", o.n_streamed_layers},
                     {"decompression", o.decompression},
                     {"deferring_layers", o.n_deferring},
                     {"given_up", o.given_up},
                     {"refused", o.refused}};
  }
  Json blocks = Json::array();
  for (const BlockPlan& block : plan.blocks) {
    Json entry = {{"name", block.name()},
                  {"place", name_of(block.place)},
                  {"experts_place", name_of(block.experts_place)},
                  {"reason", block.reason},
                  {"parts", block.n_parts()},
                  {"bytes", block.bytes},
                  {"bytes_per_token", block.bytes_per_token},
                  {"bytes_per_prompt_pass", block.bytes_per_pass},
                  {"weights", Json::array()}};
    for (const std::size_t i : block.weights) {
      const WeightPlan& w = plan.weights[i];
      Json weight = {{"name", w.name},
                     {"type", quant::name_of(w.dtype)},
                     {"storage", name_of(w.storage)},
                     {"bytes", w.bytes},
                     {"bytes_per_token", w.bytes_per_token}};
      if (w.gemv != nullptr) {
        weight["gemv"] = w.gemv->name;
        weight["gemm"] = w.gemm->name;
        weight["gemm_min_rows"] = w.gemm_min_rows;
        weight["refusals"] = w.refusals;
      }
      entry["weights"].push_back(std::move(weight));
    }
    blocks.push_back(std::move(entry));
  }
  out["blocks"] = std::move(blocks);
  return out;
}

}  // namespace dodeca::runtime::cli
