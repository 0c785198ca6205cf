// What a weight is for, whatever its name. Code asks the role; names are for files, patterns and messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace dodeca::runtime {

enum class WeightRole : std::uint8_t {
  // outside the layers
  kEmbedding,
  kOutputNorm,
  kOutput,       // the head: hidden state to logits
  kRopeFactors,  // RopeConfig::factors
  // attention; kQ to kAttentionOutput as the DeepSeek-V2 paper, section 2.1, and GGUF name them
  kAttentionNorm,
  kQ,
  kQA,
  kQABias,
  kQANorm,
  kQB,
  kKvA,
  kKvABias,
  kKvANorm,
  kKB,   // [heads, latent] x nope: carries a query into the latent space
  kVB,   // [heads, v] x latent: carries the result out
  kKvB,  // older files: both in one, as kv_b_proj
  kK,    // of grouped-query attention, like all to kSinks
  kV,
  kQBias,
  kKBias,
  kVBias,
  kQkv,  // some files: all three in one, like kQkvBias
  kQkvBias,
  kQNorm,
  kKNorm,
  kSinks,   // [heads] logits without values
  kIndexQ,  // DeepSeek sparse attention: the indexer's queries, from the normed q_a
  kIndexK,
  kIndexKNorm,
  kIndexKNormBias,
  kIndexWeights,  // of its heads
  kAttentionOutput,
  kAttentionOutputBias,
  // feed-forward
  kFfnNorm,
  kGate,
  kUp,
  kDown,
  kRouter,
  kRouterLogitBias,
  kRouterBias,  // of the choice alone, not of the weights (DeepSeek-V3 report, section 2.1.2)
  kExpertGate,
  kExpertUp,
  kExpertDown,
  kExpertGateBias,
  kExpertUpBias,
  kExpertDownBias,
  kExpertGateUp,  // some files: both in one, gate rows first
  kSharedGate,
  kSharedUp,
  kSharedDown,
  // multi-token prediction (DeepSeek-V3 report, section 2.2), in the layers behind the main ones
  kMtpProjection,
  kMtpEmbeddingNorm,
  kMtpHiddenNorm,
  kMtpEmbedding,
  kMtpOutput,
  kMtpOutputNorm,
};

// Parts of a model by which people sum bytes up.
enum class WeightGroup : std::uint8_t {
  kEmbedding,
  kOutput,
  kAttention,
  kDenseFfn,
  kSharedExperts,
  kRoutedExperts,
  kRouter,
  kNorms,
  kMtp,
  kOther,  // no role has it
};
inline constexpr std::size_t kWeightGroups = 10;
std::string_view group_name(WeightGroup group);

// The block that reads a weight.
enum class BlockPart : std::uint8_t { kEmbedding, kAttention, kFfn, kHead, kMtp };

inline constexpr std::int64_t kNoLayer = -1;

struct RoleInfo {
  WeightRole role;
  WeightGroup group;
  std::string_view name;  // GGUF's, behind "blk.N." where the weight belongs to a layer
  bool in_layer = true;
  bool vector = false;  // a norm or a bias
};
std::span<const RoleInfo> all_roles();
const RoleInfo& role_info(WeightRole role);
inline WeightGroup group_of(WeightRole role) { return role_info(role).group; }
BlockPart part_of(WeightRole role);
// Of which a token reads only those that it chose.
inline bool is_routed(WeightRole role) { return group_of(role) == WeightGroup::kRoutedExperts; }

inline bool is_bias(WeightRole role) { return role_info(role).name.ends_with(".bias"); }

// A weight of a model: its role and layer, kNoLayer outside.
struct WeightId {
  WeightRole role = WeightRole::kEmbedding;
  std::int64_t layer = kNoLayer;
  bool operator==(const WeightId&) const = default;
  auto operator<=>(const WeightId&) const = default;
};
// "blk.3.ffn_down_exps.weight"
std::string gguf_name(WeightId id);
// The way back, for names in files and in what people write; nothing for names that no role has.
std::optional<WeightId> weight_of_name(std::string_view name);

// For reports alone: the likely group of a tensor of any architecture, from what names have in common.
WeightGroup guess_group(std::string_view gguf_name);
WeightGroup guess_group_hf(std::string_view tensor_name);

}  // namespace dodeca::runtime
