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
// RMS norm of queries and keys before rope: of each head, or of all heads' values at once.
enum class QkNorm { kNone, kPerHead, kWhole };
enum class ActivationKind { kSwiGlu, kClampedSwiGlu };  // the second: gpt-oss

struct RopeConfig {
  std::int64_t dim = 0;  // rotated dimensions per head
  double base = 10000.0;
  bool yarn = false;
  double factor = 1.0;
  std::int64_t original_context = 0;
  double beta_fast = 32.0, beta_slow = 1.0;
  double mscale_all_dim = 0.0;  // softmax scale is multiplied by (1 + 0.1 * mscale_all_dim * ln(factor))^2
  double magnitude = 1.0;       // factor on cos and sin; 1 for every published DeepSeek model
  bool whole_bounds = true;     // YaRN: the ramp begins and ends at whole dimensions
  std::vector<double> factors;  // [dim / 2] each frequency is divided by; empty: 1
  RopePairing pairing = RopePairing::kInterleaved;  // kHalves: grouped queries alone
};

// DeepSeek sparse attention (DeepSeek-V3.2-Exp report): an indexer scores all cached positions, attention runs over the
// best.
struct IndexerConfig {
  std::int64_t n_heads = 0;  // 0: attention is dense
  std::int64_t head_dim = 0, top_k = 0;
  RopePairing pairing = RopePairing::kInterleaved;  // of the first rope.dim dims of a head

  bool operator==(const IndexerConfig&) const = default;
};

struct LayerConfig {
  AttentionKind attention = AttentionKind::kMla;
  FfnKind ffn = FfnKind::kDense;
  std::int64_t window = 0;  // GQA: positions that a row sees, its own included; 0: all
  bool has_indexer = true;  // false: attends to what the nearest earlier layer with an indexer chose
};

struct ModelConfig {
  std::string architecture;                                    // "deepseek2"
  std::string name;                                            // general.name or the directory's, for display
  std::int64_t vocab_size = 0, hidden_size = 0, n_layers = 0;  // n_layers without MTP layers
  std::int64_t n_mtp_layers = 0;
  std::int64_t context_length = 0;  // the model's own
  double rms_norm_eps = 1e-6;
  std::vector<LayerConfig> layers;  // [n_layers]
  IndexerConfig indexer;

  std::int64_t n_heads = 0, n_kv_heads = 0;  // n_kv_heads: GQA only
  std::int64_t q_lora_rank = 0;              // 0: q in one projection
  std::int64_t kv_lora_rank = 0, qk_nope_head_dim = 0, qk_rope_head_dim = 0, v_head_dim = 0;
  std::int64_t head_dim = 0;  // GQA only
  QkNorm qk_norm = QkNorm::kNone;
  bool attention_sinks = false;  // GQA: every head has a logit that takes a share of the softmax and has no value
  RopeConfig rope;

  std::int64_t intermediate_size = 0, moe_intermediate_size = 0;
  std::int64_t n_routed_experts = 0, n_experts_per_tok = 0, n_shared_experts = 0;
  std::int64_t n_group = 1, topk_group = 1;
  GroupScoreKind group_score = GroupScoreKind::kTop2Sum;
  GatingKind gating = GatingKind::kSoftmax;
  bool norm_topk_prob = false;
  double routed_scaling_factor = 1.0;
  bool attention_bias = false;  // MLA: q_a, kv_a and the output projection add one; GQA: q, k and v
  bool output_bias = false;     // GQA: the output projection adds one
  bool router_bias = false;     // the router's logits add one, besides the bias of the choice
  bool expert_bias = false;     // gate, up and down of the routed experts add one
  ActivationKind activation = ActivationKind::kSwiGlu;
  bool tied_embeddings = false;

  // Layers of multi-token prediction are built as the last main one.
  const LayerConfig& layer(std::int64_t index) const { return index < n_layers ? layers[index] : layers.back(); }
  // Floats per cached token in a layer: kv_lora_rank + qk_rope_head_dim for MLA, 2 * n_kv_heads * head_dim for GQA.
  std::int64_t cache_row_width(AttentionKind kind) const;
  // Whether rows of a layer attend to chosen positions alone, and whether the layer chooses them itself. Layers of
  // multi-token prediction are dense.
  bool is_sparse(std::int64_t index) const { return indexer.n_heads > 0 && index < n_layers; }
  bool chooses(std::int64_t index) const { return is_sparse(index) && layers[index].has_indexer; }
  double softmax_scale(AttentionKind kind) const;  // 1/sqrt(head dim), times YaRN's mscale squared
  std::vector<double> inv_freq() const;            // [rope.dim / 2], YaRN applied
};

// The size of the tensor of that name, or nothing where the file has none.
struct MatrixSize {
  std::int64_t n_in = 0, n_out = 1;
};
using FindMatrix = std::function<std::optional<MatrixSize>(std::string_view name)>;

struct ConfigOptions {
  bool plain_topk = false;       // no expert groups when the file does not name them (llama.cpp's behaviour)
  bool dense_attention = false;  // as if the model had no indexer
};
// Checks every number against every other; throws Error{kBadFile} naming the first that is out of range.
void validate(const ModelConfig& config);

// Throw Error{kUnsupported} naming the architecture (and the ones that run), Error{kBadFile} naming the key otherwise.
ModelConfig config_from_gguf(const Metadata& metadata, const std::vector<GgufTensor>& tensors,
                             const ConfigOptions& options, const Log& log);
// `size_of` tells what the checkpoint's tensors are, to check the keys against; empty: they are not at hand.
ModelConfig config_from_hf(
    const Json& config_json, const FindMatrix& size_of = {}, const Log& log = [](Level, std::string_view) {},
    const ConfigOptions& options = {});

// New rows of a long context for which decompressing its latent rows takes as long as attending to them as they are
// (cpu/kernels/attention/NOTES.md): fewer are computed faster as generated rows. 0 for models without latent attention.
std::int64_t short_prompt_rows(const ModelConfig& config);

}  // namespace dodeca::runtime
