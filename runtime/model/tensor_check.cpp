#include "runtime/model/tensor_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "runtime/base/printable.hpp"
#include "runtime/model/weight_name.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::size_t kMaxNamed = 4;

// "17 (a, b, c, d, ...)".
std::string counted(const std::vector<std::string>& names) {
  std::string text = fmt::format("{} (", names.size());
  for (std::size_t i = 0; i < std::min(names.size(), kMaxNamed); ++i)
    text += (i > 0 ? ", " : "") + printable(names[i], 128);
  return text + (names.size() > kMaxNamed ? ", ...)" : ")");
}

bool contains_any(std::string_view name, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

std::int64_t any_layer_of(std::string_view name) {
  return std::max(layer_of(name, "blk."), layer_of(name, "model.layers."));
}

// The tensors of an indexer, in either kind of file.
bool is_of_indexer(std::string_view name) {
  return contains_any(name, {"indexer.attn_q_b.", "indexer.attn_k.", "indexer.k_norm.", "indexer.proj.",
                             "indexer.wq_b.", "indexer.wk.", "indexer.weights_proj."});
}

// Why the model does without, or nothing when it might not. `mtp_layers`: that the tensors show.
std::string_view harmless(std::string_view name, const ModelConfig& c, const std::set<std::int64_t>& mtp_layers) {
  const std::int64_t layer = any_layer_of(name);
  if (layer >= c.n_layers && (layer < c.n_layers + c.n_mtp_layers || mtp_layers.contains(layer)))
    return "of the multi-token-prediction layer";
  const std::string_view kind = kind_of(name);
  if (kind == "attn_kv_b" || kind == "ffn_gate_up_exps") return "that repeat others in an older form";
  if (contains_any(name, {"rotary_emb.", "attn_rot_embd", "rope_freqs"}))
    return "with tables that follow from the keys";
  if (contains_any(name, {".k_scale", ".v_scale", ".kv_scale", ".input_scale"}))
    return "with scales for 8-bit activations";
  if (is_of_indexer(name) && (c.architecture == "deepseek32" || c.architecture == "glm-dsa") &&
      !c.chooses(std::max<std::int64_t>(layer, 0)))
    return c.is_sparse(0) ? "of layers that take an earlier one's choice" : "of the indexer, which is not used";
  if (c.tied_embeddings && name.ends_with("lm_head.weight")) return "that tie_word_embeddings replaces";
  if (name.starts_with("vision_tower.") || name.starts_with("mm_projector."))
    return "of the part for images, which is not run";
  return {};
}

}  // namespace

void check_optional(const std::vector<WantedWeight>& wanted, const std::vector<WeightInfo>& there) {
  struct Kind {
    std::string present, absent;
  };
  std::map<std::string_view, Kind> kinds;
  for (const WantedWeight& weight : wanted) {
    if (!weight.optional) continue;
    const auto at = std::ranges::lower_bound(there, weight.name, {}, &WeightInfo::name);
    Kind& kind = kinds[kind_of(weight.name)];
    (at != there.end() && at->name == weight.name ? kind.present : kind.absent) = weight.name;
  }
  for (const auto& [name, kind] : kinds)
    if (!kind.present.empty() && !kind.absent.empty())
      throw Error(ErrorKind::kBadFile, fmt::format("the model has {} and no {}: such a tensor is in all layers of its "
                                                   "kind or in none",
                                                   kind.present, kind.absent));
}

void check_unused(const std::vector<std::string>& unused, const ModelConfig& config, const Log& log) {
  std::set<std::int64_t> mtp_layers;
  for (const std::string& name : unused)
    if (contains_any(name, {"nextn.eh_proj.", ".eh_proj.weight"})) mtp_layers.insert(any_layer_of(name));
  std::map<std::string_view, std::vector<std::string>> by_reason;
  for (const std::string& name : unused) by_reason[harmless(name, config, mtp_layers)].push_back(name);
  if (const auto unknown = by_reason.find({}); unknown != by_reason.end())
    throw Error(ErrorKind::kUnsupported,
                fmt::format("the model has tensors that dodeca does not know, {}: what it would compute without them "
                            "is not what was trained",
                            counted(unknown->second)));
  std::string line;
  for (const auto& [reason, names] : by_reason)
    line += fmt::format("{}{} {}", line.empty() ? "tensors that are not used: " : "; ", counted(names), reason);
  if (!line.empty()) log(Level::kInfo, line);
}

}  // namespace dodeca::runtime
