#include "runtime/model/weight_role.hpp"

#include <algorithm>
#include <array>

#include "runtime/model/weight_name.hpp"

namespace dodeca::runtime {
namespace {

using enum WeightRole;
constexpr WeightGroup kAttention = WeightGroup::kAttention, kRoutingGroup = WeightGroup::kRouter,
                      kDense = WeightGroup::kDenseFfn, kShared = WeightGroup::kSharedExperts,
                      kRouted = WeightGroup::kRoutedExperts, kMtpGroup = WeightGroup::kMtp;

// In the order of the enum.
constexpr std::array kInfos = {
    RoleInfo{kEmbedding, WeightGroup::kEmbedding, "token_embd.weight", false},
    RoleInfo{kOutputNorm, WeightGroup::kNorms, "output_norm.weight", false, true},
    RoleInfo{kOutput, WeightGroup::kOutput, "output.weight", false},
    RoleInfo{kRopeFactors, WeightGroup::kNorms, "rope_freqs.weight", false, true},
    RoleInfo{kAttentionNorm, WeightGroup::kNorms, "attn_norm.weight", true, true},
    RoleInfo{kQ, kAttention, "attn_q.weight"},
    RoleInfo{kQA, kAttention, "attn_q_a.weight"},
    RoleInfo{kQABias, kAttention, "attn_q_a.bias", true, true},
    RoleInfo{kQANorm, WeightGroup::kNorms, "attn_q_a_norm.weight", true, true},
    RoleInfo{kQB, kAttention, "attn_q_b.weight"},
    RoleInfo{kKvA, kAttention, "attn_kv_a_mqa.weight"},
    RoleInfo{kKvABias, kAttention, "attn_kv_a_mqa.bias", true, true},
    RoleInfo{kKvANorm, WeightGroup::kNorms, "attn_kv_a_norm.weight", true, true},
    RoleInfo{kKB, kAttention, "attn_k_b.weight"},
    RoleInfo{kVB, kAttention, "attn_v_b.weight"},
    RoleInfo{kKvB, kAttention, "attn_kv_b.weight"},
    RoleInfo{kK, kAttention, "attn_k.weight"},
    RoleInfo{kV, kAttention, "attn_v.weight"},
    RoleInfo{kQBias, kAttention, "attn_q.bias", true, true},
    RoleInfo{kKBias, kAttention, "attn_k.bias", true, true},
    RoleInfo{kVBias, kAttention, "attn_v.bias", true, true},
    RoleInfo{kQkv, kAttention, "attn_qkv.weight"},
    RoleInfo{kQkvBias, kAttention, "attn_qkv.bias", true, true},
    RoleInfo{kQNorm, WeightGroup::kNorms, "attn_q_norm.weight", true, true},
    RoleInfo{kKNorm, WeightGroup::kNorms, "attn_k_norm.weight", true, true},
    RoleInfo{kSinks, kAttention, "attn_sinks.weight", true, true},
    RoleInfo{kIndexQ, kAttention, "indexer.attn_q_b.weight"},
    RoleInfo{kIndexK, kAttention, "indexer.attn_k.weight"},
    RoleInfo{kIndexKNorm, WeightGroup::kNorms, "indexer.k_norm.weight", true, true},
    RoleInfo{kIndexKNormBias, WeightGroup::kNorms, "indexer.k_norm.bias", true, true},
    RoleInfo{kIndexWeights, kAttention, "indexer.proj.weight"},
    RoleInfo{kAttentionOutput, kAttention, "attn_output.weight"},
    RoleInfo{kAttentionOutputBias, kAttention, "attn_output.bias", true, true},
    RoleInfo{kFfnNorm, WeightGroup::kNorms, "ffn_norm.weight", true, true},
    RoleInfo{kGate, kDense, "ffn_gate.weight"},
    RoleInfo{kUp, kDense, "ffn_up.weight"},
    RoleInfo{kDown, kDense, "ffn_down.weight"},
    RoleInfo{kRouter, kRoutingGroup, "ffn_gate_inp.weight"},
    RoleInfo{kRouterLogitBias, kRoutingGroup, "ffn_gate_inp.bias", true, true},
    RoleInfo{kRouterBias, kRoutingGroup, "exp_probs_b.bias", true, true},
    RoleInfo{kExpertGate, kRouted, "ffn_gate_exps.weight"},
    RoleInfo{kExpertUp, kRouted, "ffn_up_exps.weight"},
    RoleInfo{kExpertDown, kRouted, "ffn_down_exps.weight"},
    RoleInfo{kExpertGateBias, kRouted, "ffn_gate_exps.bias", true, true},
    RoleInfo{kExpertUpBias, kRouted, "ffn_up_exps.bias", true, true},
    RoleInfo{kExpertDownBias, kRouted, "ffn_down_exps.bias", true, true},
    RoleInfo{kExpertGateUp, kRouted, "ffn_gate_up_exps.weight"},
    RoleInfo{kSharedGate, kShared, "ffn_gate_shexp.weight"},
    RoleInfo{kSharedUp, kShared, "ffn_up_shexp.weight"},
    RoleInfo{kSharedDown, kShared, "ffn_down_shexp.weight"},
    RoleInfo{kMtpProjection, kMtpGroup, "nextn.eh_proj.weight"},
    RoleInfo{kMtpEmbeddingNorm, kMtpGroup, "nextn.enorm.weight", true, true},
    RoleInfo{kMtpHiddenNorm, kMtpGroup, "nextn.hnorm.weight", true, true},
    RoleInfo{kMtpEmbedding, kMtpGroup, "nextn.embed_tokens.weight"},
    RoleInfo{kMtpOutput, kMtpGroup, "nextn.shared_head_head.weight"},
    RoleInfo{kMtpOutputNorm, kMtpGroup, "nextn.shared_head_norm.weight", true, true},
};
static_assert([] {
  for (std::size_t i = 0; i < kInfos.size(); ++i) {
    if (static_cast<std::size_t>(kInfos[i].role) != i) return false;
  }
  return true;
}());

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace

std::string_view group_name(WeightGroup group) {
  static constexpr std::string_view kNames[kWeightGroups] = {
      "token embedding", "output head", "attention", "dense FFN",  "shared experts",
      "routed experts",  "router",      "norms",     "MTP layers", "other"};
  return kNames[static_cast<std::size_t>(group)];
}

std::span<const RoleInfo> all_roles() { return kInfos; }

const RoleInfo& role_info(WeightRole role) { return kInfos[static_cast<std::size_t>(role)]; }

BlockPart part_of(WeightRole role) {
  if (role == kOutputNorm) return BlockPart::kHead;
  if (role == kFfnNorm) return BlockPart::kFfn;
  switch (group_of(role)) {
    case WeightGroup::kEmbedding:
      return BlockPart::kEmbedding;
    case WeightGroup::kOutput:
      return BlockPart::kHead;
    case WeightGroup::kAttention:
    case WeightGroup::kNorms:  // the others are between projections of attention, or before them
      return BlockPart::kAttention;
    case WeightGroup::kMtp:
      return BlockPart::kMtp;
    default:
      return BlockPart::kFfn;
  }
}

std::string gguf_name(WeightId id) {
  const RoleInfo& info = role_info(id.role);
  return (info.in_layer ? "blk." + std::to_string(id.layer) + "." : "") + std::string(info.name);
}

std::optional<WeightId> weight_of_name(std::string_view name) {
  const std::int64_t layer = name.starts_with("blk.") ? layer_of(name) : kNoLayer;
  const std::string_view rest = layer < 0 ? name : name.substr(name.find('.', 4) + 1);
  const auto found = std::ranges::find_if(
      kInfos, [&](const RoleInfo& info) { return info.name == rest && info.in_layer == (layer >= 0); });
  if (found == kInfos.end()) return std::nullopt;
  return WeightId{found->role, layer};
}

WeightGroup guess_group(std::string_view name) {
  if (contains(name, ".nextn.")) return WeightGroup::kMtp;
  if (contains(name, "norm")) return WeightGroup::kNorms;
  if (const auto id = weight_of_name(name)) return group_of(id->role);
  if (name.starts_with("token_embd")) return WeightGroup::kEmbedding;
  if (name.starts_with("output.")) return WeightGroup::kOutput;
  if (contains(name, "ffn_gate_inp") || contains(name, "exp_probs_b")) return WeightGroup::kRouter;
  if (contains(name, "_shexp")) return WeightGroup::kSharedExperts;
  if (contains(name, "_exps")) return WeightGroup::kRoutedExperts;
  if (contains(name, ".ffn_")) return WeightGroup::kDenseFfn;
  if (contains(name, ".attn_")) return WeightGroup::kAttention;
  return WeightGroup::kOther;
}

WeightGroup guess_group_hf(std::string_view name) {
  if (contains(name, "norm")) return WeightGroup::kNorms;
  if (contains(name, "embed_tokens")) return WeightGroup::kEmbedding;
  if (contains(name, "lm_head")) return WeightGroup::kOutput;
  if (contains(name, "mlp.gate.") || contains(name, "block_sparse_moe.gate.") || contains(name, "shared_expert_gate") ||
      contains(name, ".router.")) {
    return WeightGroup::kRouter;
  }
  if (contains(name, "shared_expert")) return WeightGroup::kSharedExperts;
  if (contains(name, ".experts.")) return WeightGroup::kRoutedExperts;
  if (contains(name, ".mlp.")) return WeightGroup::kDenseFfn;
  if (contains(name, "attn") || contains(name, "attention")) return WeightGroup::kAttention;
  return WeightGroup::kOther;
}

}  // namespace dodeca::runtime
