// Hyper-parameters of a model, in the papers' words, from GGUF metadata or a Hugging Face config.json.
// An architecture is a description: per layer an attention kind and a feed-forward kind, from which the plan makes
// blocks; gating and rope are the same in all layers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/log.hpp"
#include "runtime/load/gguf.hpp"
#include "runtime/load/json.hpp"

namespace dodeca::runtime {

enum class AttentionKind { kMla, kGqa };
enum class FfnKind { kDense, kMoe };
enum class GatingKind { kSoftmax, kSigmoid, kSoftmaxSelected };  // the last: softmax over the chosen logits
enum class GroupScoreKind { kMax, kTop2Sum };
enum class RopePairing { kInterleaved, kHalves };

struct RopeConfig {
  std::int64_t dim = 0;  // rotated dimensions per head
  double base = 10000.0;
  bool yarn = false;
  double factor = 1.0;
  std::int64_t original_context = 0;
  double beta_fast = 32.0, beta_slow = 1.0;
  double mscale_all_dim = 0.0;  // softmax scale is multiplied by (1 + 0.1 * mscale_all_dim * ln(factor))^2
  double magnitude = 1.0;       // factor on cos and sin; 1 for every published DeepSeek model
  RopePairing pairing = RopePairing::kInterleaved;  // kHalves: grouped queries alone
};

struct LayerConfig {
  AttentionKind attention = AttentionKind::kMla;
  FfnKind ffn = FfnKind::kDense;
};

struct ModelConfig {
  std::string architecture;                                    // "deepseek2"
  std::string name;                                            // general.name or the directory's, for display
  std::int64_t vocab_size = 0, hidden_size = 0, n_layers = 0;  // n_layers without MTP layers
  std::int64_t n_mtp_layers = 0;
  std::int64_t context_length = 0;  // the model's own
  double rms_norm_eps = 1e-6;
  std::vector<LayerConfig> layers;  // [n_layers]

  std::int64_t n_heads = 0, n_kv_heads = 0;  // n_kv_heads: GQA only
  std::int64_t q_lora_rank = 0;              // 0: q in one projection
  std::int64_t kv_lora_rank = 0, qk_nope_head_dim = 0, qk_rope_head_dim = 0, v_head_dim = 0;
  std::int64_t head_dim = 0;  // GQA only
  RopeConfig rope;

  std::int64_t intermediate_size = 0, moe_intermediate_size = 0;
  std::int64_t n_routed_experts = 0, n_experts_per_tok = 0, n_shared_experts = 0;
  std::int64_t n_group = 1, topk_group = 1;
  GroupScoreKind group_score = GroupScoreKind::kTop2Sum;
  GatingKind gating = GatingKind::kSoftmax;
  bool norm_topk_prob = false;
  double routed_scaling_factor = 1.0;
  bool attention_bias = false;  // MLA: q_a, kv_a and the output projection add one
  bool tied_embeddings = false;

  // Layers of multi-token prediction are built as the last main one.
  const LayerConfig& layer(std::int64_t index) const { return index < n_layers ? layers[index] : layers.back(); }
  // Floats per cached token in a layer: kv_lora_rank + qk_rope_head_dim for MLA, 2 * n_kv_heads * head_dim for GQA.
  std::int64_t cache_row_width(AttentionKind kind) const;
  double softmax_scale(AttentionKind kind) const;  // 1/sqrt(head dim), times YaRN's mscale squared
  std::vector<double> inv_freq() const;            // [rope.dim / 2], YaRN applied
};

// The size of the tensor of that name, or nothing where the file has none.
struct MatrixSize {
  std::int64_t n_in = 0, n_out = 1;
};
using FindMatrix = std::function<std::optional<MatrixSize>(std::string_view name)>;

struct ConfigOptions {
  bool plain_topk = false;  // no expert groups when the file does not name them (llama.cpp's behaviour)
};
// Checks every number against every other; throws Error{kBadFile} naming the first that is out of range.
void validate(const ModelConfig& config);

// Throw Error{kUnsupported} naming the architecture (and the ones that run), Error{kBadFile} naming the key otherwise.
ModelConfig config_from_gguf(const Metadata& metadata, const std::vector<GgufTensor>& tensors,
                             const ConfigOptions& options, const Log& log);
// `size_of` tells what the checkpoint's tensors are, to check the keys against; empty: they are not at hand.
ModelConfig config_from_hf(
    const Json& config_json, const FindMatrix& size_of = {}, const Log& log = [](Level, std::string_view) {});

}  // namespace dodeca::runtime
