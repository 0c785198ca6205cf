#include "runtime/cli/inspect_report.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/base/printable.hpp"
#include "runtime/model/weight_name.hpp"

namespace dodeca::runtime::cli {

namespace {

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<std::uint64_t>::max() : sum;
}

// A scalar, or the sum of a per-layer array; -1 when absent or of another kind. Nothing here fails: this only informs.
std::int64_t integer_or(const Metadata& metadata, const std::string& key, std::int64_t fallback) {
  try {
    return metadata.integer(key).value_or(fallback);
  } catch (const Error&) {
    return fallback;
  }
}

std::int64_t integer_or(const Json& config, const char* key, std::int64_t fallback) {
  const auto it = config.find(key);
  if (it == config.end() || !it->is_number_integer()) return fallback;
  return it->get<std::int64_t>();
}

// Widths beyond any model come from damaged files and would overflow products.
std::int64_t cache_width(std::int64_t n_layers, std::int64_t mla_width, std::int64_t n_kv_heads,
                         std::int64_t head_width) {
  constexpr std::int64_t kMax = 1 << 20;
  for (const std::int64_t value : {n_layers, mla_width, n_kv_heads, head_width}) {
    if (value > kMax) return -1;
  }
  if (n_layers <= 0) return -1;
  if (mla_width > 0) return n_layers * mla_width;
  return n_kv_heads > 0 && head_width > 0 ? n_layers * n_kv_heads * head_width : -1;
}

}  // namespace

InspectShape shape_of_gguf(const Metadata& metadata) {
  InspectShape shape;
  const auto text = [&](const char* key) {
    const MetaValue* value = metadata.find(key);
    const auto* string = value == nullptr ? nullptr : std::get_if<std::string>(value);
    return string == nullptr ? std::string() : *string;
  };
  const std::string type = text("general.type");
  const std::string prefix = text("general.architecture") + ".";
  shape.is_model = type.empty() || type == "model";
  const auto get = [&](const char* key) { return integer_or(metadata, prefix + key, -1); };
  shape.n_layers = get("block_count");
  if (const std::int64_t mtp = get("nextn_predict_layers"); mtp > 0 && mtp < shape.n_layers) shape.n_layers -= mtp;
  shape.n_experts = get("expert_count");
  shape.n_experts_used = get("expert_used_count");
  const std::int64_t latent = get("attention.kv_lora_rank"), rope = get("rope.dimension_count");
  const std::int64_t key = get("attention.key_length"), value = get("attention.value_length");
  shape.cache_width = cache_width(
      shape.n_layers, latent > 0 && rope > 0 && latent <= INT32_MAX && rope <= INT32_MAX ? latent + rope : -1,
      get("attention.head_count_kv"),
      key > 0 && value > 0 && key <= INT32_MAX && value <= INT32_MAX ? key + value : -1);
  return shape;
}

InspectShape shape_of_hf(const Json& config) {
  InspectShape shape;
  shape.gguf = false;
  if (!config.is_object()) return shape;
  const auto nested = config.find("text_config");
  const Json& text = nested != config.end() && nested->is_object() ? *nested : config;
  shape.n_layers = integer_or(text, "num_hidden_layers", -1);
  for (const char* key : {"n_routed_experts", "num_local_experts", "num_experts"}) {
    if (shape.n_experts < 0) shape.n_experts = integer_or(text, key, -1);
  }
  shape.n_experts_used = integer_or(text, "num_experts_per_tok", -1);
  const std::int64_t latent = integer_or(text, "kv_lora_rank", -1), rope = integer_or(text, "qk_rope_head_dim", -1);
  const std::int64_t head = integer_or(text, "head_dim", -1);
  shape.cache_width = cache_width(
      shape.n_layers, latent > 0 && rope > 0 && latent <= INT32_MAX && rope <= INT32_MAX ? latent + rope : -1,
      integer_or(text, "num_key_value_heads", -1), head > 0 && head <= INT32_MAX ? 2 * head : -1);
  return shape;
}

WeightGroup group_of(std::string_view name, const InspectShape& shape) {
  const std::int64_t layer = layer_of(name, shape.gguf ? "blk." : "layers.");
  if (shape.n_layers > 0 && layer >= shape.n_layers) return WeightGroup::kMtp;
  return shape.gguf ? guess_group(name) : guess_group_hf(name);
}

InspectReport make_report(const std::vector<InspectTensor>& tensors, const InspectShape& shape) {
  InspectReport report;
  std::map<std::string, Sum> types;
  const auto add = [](Sum& sum, const InspectTensor& tensor) {
    ++sum.tensors;
    sum.bytes = saturating_add(sum.bytes, tensor.bytes);
    if (!tensor.is_scale) sum.elements = saturating_add(sum.elements, tensor.elements);
  };
  std::set<std::int64_t> absorbed;  // layers that have attn_k_b, whose attn_kv_b is then not read
  for (const InspectTensor& tensor : tensors) {
    report.groups.push_back(group_of(tensor.name, shape));
    add(report.total, tensor);
    add(report.by_group[static_cast<std::size_t>(report.groups.back())], tensor);
    add(types[tensor.type], tensor);
    const auto id = shape.gguf ? weight_of_name(tensor.name) : std::nullopt;
    if (id && id->role == WeightRole::kKB) absorbed.insert(id->layer);
  }
  report.by_type.assign(types.begin(), types.end());
  std::stable_sort(report.by_type.begin(), report.by_type.end(),
                   [](const auto& a, const auto& b) { return a.second.bytes > b.second.bytes; });

  const auto bytes_of = [&](WeightGroup group) { return report.by_group[static_cast<std::size_t>(group)].bytes; };
  const bool has_experts = bytes_of(WeightGroup::kRoutedExperts) > 0;
  const bool experts_known = shape.n_experts > 0 && shape.n_experts_used > 0 && shape.n_experts_used <= shape.n_experts;
  if (shape.is_model && !tensors.empty() && (!has_experts || experts_known)) {
    std::array<std::uint64_t, kWeightGroups> read{};
    const bool tied = bytes_of(WeightGroup::kOutput) == 0;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const InspectTensor& tensor = tensors[i];
      std::uint64_t bytes = tensor.bytes;
      switch (report.groups[i]) {
        case WeightGroup::kEmbedding: {  // one row; all of it where it is the output head as well
          const std::int64_t rows = tensor.dims.size() < 2 ? 1 : shape.gguf ? tensor.dims[1] : tensor.dims[0];
          if (!tied && rows > 0) bytes /= static_cast<std::uint64_t>(rows);
          break;
        }
        case WeightGroup::kRoutedExperts:
          bytes = static_cast<std::uint64_t>(static_cast<unsigned __int128>(bytes) *
                                             static_cast<std::uint64_t>(shape.n_experts_used) /
                                             static_cast<std::uint64_t>(shape.n_experts));
          break;
        case WeightGroup::kAttention:
          if (const auto id = weight_of_name(tensor.name);
              id && id->role == WeightRole::kKvB && absorbed.contains(id->layer))
            bytes = 0;
          break;
        case WeightGroup::kMtp:
          bytes = 0;
          break;
        default:
          break;
      }
      auto& sum = read[static_cast<std::size_t>(report.groups[i])];
      sum = saturating_add(sum, bytes);
    }
    report.read_by_group = read;
    report.read_total = 0;
    for (const std::uint64_t bytes : read) *report.read_total = saturating_add(*report.read_total, bytes);
    if (shape.cache_width > 0) report.cache_bytes_per_position = 2 * static_cast<std::uint64_t>(shape.cache_width);
  }
  return report;
}

std::string sums_text(const InspectReport& report) {
  std::string out;
  out += fmt::format("\n{:<18} {:>8} {:>18} {:>18} {:>12}\n", "type", "tensors", "parameters", "bytes", "bits/weight");
  for (const auto& [type, sum] : report.by_type) {
    out += fmt::format("{:<18} {:>8} {:>18} {:>18} {:>12.4f}\n", printable(type), sum.tensors, sum.elements, sum.bytes,
                       sum.bits_per_weight());
  }
  out += fmt::format("\n{:<18} {:>8} {:>18} {:>18} {:>12} {:>18}\n", "role", "tensors", "parameters", "bytes",
                     "bits/weight", "read per token");
  const auto line = [&](std::string_view name, const Sum& sum, const std::string& read) {
    out += fmt::format("{:<18} {:>8} {:>18} {:>18} {:>12.4f} {:>18}\n", name, sum.tensors, sum.elements, sum.bytes,
                       sum.bits_per_weight(), read);
  };
  for (std::size_t group = 0; group < kWeightGroups; ++group) {
    if (report.by_group[group].tensors == 0) continue;
    line(group_name(static_cast<WeightGroup>(group)), report.by_group[group],
         report.read_by_group ? fmt::format("{}", (*report.read_by_group)[group]) : "-");
  }
  line("total", report.total, report.read_total ? fmt::format("{}", *report.read_total) : "-");
  if (report.read_total) {
    out += fmt::format("\nbytes read per generated token: {:.3f} GB of weights",
                       static_cast<double>(*report.read_total) / 1e9);
    if (report.cache_bytes_per_position) {
      out += fmt::format(", plus {} bytes of f16 cache per position of context", *report.cache_bytes_per_position);
    }
    out += "\n";
  }
  return out;
}

}  // namespace dodeca::runtime::cli
