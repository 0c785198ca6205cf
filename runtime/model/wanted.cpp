#include "runtime/model/wanted.hpp"

namespace dodeca::runtime {
namespace {

using enum WeightRole;

// Behind "model.layers.N." in a Hugging Face checkpoint, what architectures name differently.
struct FfnNames {
  std::string_view router, selection_bias, gate, up, down;
};
constexpr FfnNames kMlpNames = {"mlp.gate.weight", "mlp.gate.e_score_correction_bias",
                                "mlp.experts.{}.gate_proj.weight", "mlp.experts.{}.up_proj.weight",
                                "mlp.experts.{}.down_proj.weight"};
constexpr FfnNames kSparseNames = {"block_sparse_moe.gate.weight", "block_sparse_moe.e_score_correction_bias",
                                   "block_sparse_moe.experts.{}.w1.weight", "block_sparse_moe.experts.{}.w3.weight",
                                   "block_sparse_moe.experts.{}.w2.weight"};
// All experts in one tensor, gate and up too (hf_fused_experts.hpp).
constexpr FfnNames kFusedNames = {"mlp.router.weight", "", "mlp.experts.gate_up_proj", "mlp.experts.gate_up_proj",
                                  "mlp.experts.down_proj"};

const FfnNames& ffn_names(const ModelConfig& c) {
  if (c.architecture == "gpt-oss") return kFusedNames;
  return c.architecture == "llama" || c.architecture == "minimax-m2" ? kSparseNames : kMlpNames;
}

class Builder {
 public:
  Builder(const ModelConfig& config, std::vector<WantedWeight>& out) : c_(config), out_(out) {}

  void vector(WeightRole role, const std::string& hf, std::int64_t n, bool optional = false) {
    add({.hf_name = hf, .n_in = n, .vector = true, .optional = optional}, role);
  }
  void bias(WeightRole role, const std::string& hf, std::int64_t n) {
    if (c_.attention_bias) vector(role, hf, n);
  }
  void matrix(WeightRole role, const std::string& hf, std::int64_t n_in, std::int64_t n_out, bool optional = false) {
    add({.hf_name = hf, .n_in = n_in, .n_out = n_out, .optional = optional}, role);
  }
  void experts(WeightRole role, std::string_view hf, std::int64_t n_in, std::int64_t n_out) {
    add({.hf_name = h_ + std::string(hf),
         .n_in = n_in,
         .n_out = n_out,
         .n_slices = c_.n_routed_experts,
         .slicing = Slicing::kExperts},
        role);
  }
  void expert_bias(WeightRole role, std::string_view hf, std::int64_t n) {
    experts(role, std::string(hf) + "_bias", n, 1);
    out_.back().vector = true;
  }
  void heads(WeightRole role, std::int64_t n_in, std::int64_t n_out) {
    add({.hf_name = "", .n_in = n_in, .n_out = n_out, .n_slices = c_.n_heads, .slicing = Slicing::kHeads}, role);
  }

  void embedding() { matrix(kEmbedding, "model.embed_tokens.weight", c_.hidden_size, c_.vocab_size); }
  void head() {
    vector(kOutputNorm, "model.norm.weight", c_.hidden_size);
    if (!c_.tied_embeddings) matrix(kOutput, "lm_head.weight", c_.hidden_size, c_.vocab_size);
    if (!c_.rope.factors.empty()) vector(kRopeFactors, "", std::ssize(c_.rope.factors));
  }

  // What follows belongs to this layer.
  void begin_layer(std::int64_t layer) {
    layer_ = layer;
    h_ = fmt::format("model.layers.{}.", layer);
  }

  void attention(AttentionKind kind) {
    vector(kAttentionNorm, h_ + "input_layernorm.weight", c_.hidden_size);
    if (kind == AttentionKind::kGqa) return grouped_attention();
    const std::int64_t q_width = c_.n_heads * (c_.qk_nope_head_dim + c_.qk_rope_head_dim),
                       kv_width = c_.kv_lora_rank + c_.qk_rope_head_dim;
    if (c_.q_lora_rank > 0) {
      matrix(kQA, h_ + "self_attn.q_a_proj.weight", c_.hidden_size, c_.q_lora_rank);
      bias(kQABias, h_ + "self_attn.q_a_proj.bias", c_.q_lora_rank);
      vector(kQANorm, h_ + "self_attn.q_a_layernorm.weight", c_.q_lora_rank);
      matrix(kQB, h_ + "self_attn.q_b_proj.weight", c_.q_lora_rank, q_width);
    } else {
      matrix(kQ, h_ + "self_attn.q_proj.weight", c_.hidden_size, q_width);
    }
    matrix(kKvA, h_ + "self_attn.kv_a_proj_with_mqa.weight", c_.hidden_size, kv_width);
    bias(kKvABias, h_ + "self_attn.kv_a_proj_with_mqa.bias", kv_width);
    vector(kKvANorm, h_ + "self_attn.kv_a_layernorm.weight", c_.kv_lora_rank);
    if (c_.chooses(layer_)) indexer();
    heads(kKB, c_.qk_nope_head_dim, c_.kv_lora_rank);
    heads(kVB, c_.kv_lora_rank, c_.v_head_dim);
    matrix(kAttentionOutput, h_ + "self_attn.o_proj.weight", c_.n_heads * c_.v_head_dim, c_.hidden_size);
    bias(kAttentionOutputBias, h_ + "self_attn.o_proj.bias", c_.hidden_size);
  }

  void grouped_attention() {
    const std::int64_t queries = c_.n_heads * c_.head_dim, keys = c_.n_kv_heads * c_.head_dim;
    matrix(kQ, h_ + "self_attn.q_proj.weight", c_.hidden_size, queries);
    matrix(kK, h_ + "self_attn.k_proj.weight", c_.hidden_size, keys);
    matrix(kV, h_ + "self_attn.v_proj.weight", c_.hidden_size, keys);
    bias(kQBias, h_ + "self_attn.q_proj.bias", queries);
    bias(kKBias, h_ + "self_attn.k_proj.bias", keys);
    bias(kVBias, h_ + "self_attn.v_proj.bias", keys);
    if (c_.qk_norm != QkNorm::kNone) {
      const bool whole = c_.qk_norm == QkNorm::kWhole;
      vector(kQNorm, h_ + "self_attn.q_norm.weight", whole ? queries : c_.head_dim);
      vector(kKNorm, h_ + "self_attn.k_norm.weight", whole ? keys : c_.head_dim);
    }
    if (c_.attention_sinks) vector(kSinks, h_ + "self_attn.sinks", c_.n_heads);
    matrix(kAttentionOutput, h_ + "self_attn.o_proj.weight", queries, c_.hidden_size);
    if (c_.output_bias) vector(kAttentionOutputBias, h_ + "self_attn.o_proj.bias", c_.hidden_size);
  }

  void indexer() {
    const IndexerConfig& index = c_.indexer;
    const std::string at = h_ + "self_attn.indexer.";
    matrix(kIndexQ, at + "wq_b.weight", c_.q_lora_rank, index.n_heads * index.head_dim);
    matrix(kIndexK, at + "wk.weight", c_.hidden_size, index.head_dim);
    vector(kIndexKNorm, at + "k_norm.weight", index.head_dim);
    vector(kIndexKNormBias, at + "k_norm.bias", index.head_dim);
    matrix(kIndexWeights, at + "weights_proj.weight", c_.hidden_size, index.n_heads);
  }

  void ffn(FfnKind kind) {
    vector(kFfnNorm, h_ + "post_attention_layernorm.weight", c_.hidden_size);
    if (kind == FfnKind::kDense) {
      matrix(kGate, h_ + "mlp.gate_proj.weight", c_.hidden_size, c_.intermediate_size);
      matrix(kUp, h_ + "mlp.up_proj.weight", c_.hidden_size, c_.intermediate_size);
      matrix(kDown, h_ + "mlp.down_proj.weight", c_.intermediate_size, c_.hidden_size);
      return;
    }
    const FfnNames& names = ffn_names(c_);
    const auto named = [&](std::string_view name) { return h_ + std::string(name); };
    matrix(kRouter, named(names.router), c_.hidden_size, c_.n_routed_experts);
    if (c_.router_bias) vector(kRouterLogitBias, h_ + "mlp.router.bias", c_.n_routed_experts);
    if (!names.selection_bias.empty()) vector(kRouterBias, named(names.selection_bias), c_.n_routed_experts, true);
    const std::int64_t width = c_.moe_intermediate_size;
    experts(kExpertGate, names.gate, c_.hidden_size, width);
    experts(kExpertUp, names.up, c_.hidden_size, width);
    experts(kExpertDown, names.down, width, c_.hidden_size);
    if (c_.expert_bias) {
      expert_bias(kExpertGateBias, names.gate, width);
      expert_bias(kExpertUpBias, names.up, width);
      expert_bias(kExpertDownBias, names.down, c_.hidden_size);
    }
    if (c_.n_shared_experts > 0) {
      const std::int64_t shared = width * c_.n_shared_experts;
      matrix(kSharedGate, h_ + "mlp.shared_experts.gate_proj.weight", c_.hidden_size, shared);
      matrix(kSharedUp, h_ + "mlp.shared_experts.up_proj.weight", c_.hidden_size, shared);
      matrix(kSharedDown, h_ + "mlp.shared_experts.down_proj.weight", shared, c_.hidden_size);
    }
  }

  void mtp() {
    matrix(kMtpProjection, h_ + "eh_proj.weight", 2 * c_.hidden_size, c_.hidden_size);
    vector(kMtpEmbeddingNorm, h_ + "enorm.weight", c_.hidden_size);
    vector(kMtpHiddenNorm, h_ + "hnorm.weight", c_.hidden_size);
    matrix(kMtpEmbedding, h_ + "embed_tokens.weight", c_.hidden_size, c_.vocab_size, true);
    matrix(kMtpOutput, h_ + "shared_head.head.weight", c_.hidden_size, c_.vocab_size, true);
    vector(kMtpOutputNorm, h_ + "shared_head.norm.weight", c_.hidden_size, true);
  }

 private:
  void add(WantedWeight wanted, WeightRole role) {
    wanted.id = {role, role_info(role).in_layer ? layer_ : kNoLayer};
    wanted.name = gguf_name(wanted.id);
    out_.push_back(std::move(wanted));
  }

  const ModelConfig& c_;
  std::vector<WantedWeight>& out_;
  std::int64_t layer_ = kNoLayer;
  std::string h_;
};

}  // namespace

std::vector<WantedWeight> wanted_weights(const ModelConfig& c, bool mtp) {
  std::vector<WantedWeight> out;
  Builder build(c, out);
  if (!mtp) {
    build.embedding();
    build.head();
    for (std::int64_t layer = 0; layer < c.n_layers; ++layer) {
      const LayerConfig& described = c.layers[layer];
      build.begin_layer(layer);
      build.attention(described.attention);
      build.ffn(described.ffn);
    }
    return out;
  }
  for (std::int64_t layer = c.n_layers; layer < c.n_layers + c.n_mtp_layers; ++layer) {
    build.begin_layer(layer);  // built as the last main layer
    build.attention(c.layers.back().attention);
    build.ffn(c.layers.back().ffn);
    build.mtp();
  }
  return out;
}

}  // namespace dodeca::runtime
