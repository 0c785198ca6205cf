#include "runtime/model/wanted.hpp"

namespace dodeca::runtime {
namespace {

class Builder {
 public:
  Builder(const ModelConfig& config, std::vector<WantedWeight>& out) : c_(config), out_(out) {}

  void vector(const std::string& name, const std::string& hf, std::int64_t n, bool optional = false) {
    out_.push_back({.name = name, .hf_name = hf, .n_in = n, .vector = true, .optional = optional});
  }
  void bias(const std::string& name, const std::string& hf, std::int64_t n) {
    if (c_.attention_bias) vector(name, hf, n);
  }
  void matrix(const std::string& name, const std::string& hf, std::int64_t n_in, std::int64_t n_out,
              bool optional = false) {
    out_.push_back({.name = name, .hf_name = hf, .n_in = n_in, .n_out = n_out, .optional = optional});
  }
  void experts(const std::string& name, const std::string& hf, std::int64_t n_in, std::int64_t n_out) {
    out_.push_back({.name = name,
                    .hf_name = hf,
                    .n_in = n_in,
                    .n_out = n_out,
                    .n_slices = c_.n_routed_experts,
                    .slicing = Slicing::kExperts});
  }
  void heads(const std::string& name, std::int64_t n_in, std::int64_t n_out) {
    out_.push_back({.name = name,
                    .hf_name = "",
                    .n_in = n_in,
                    .n_out = n_out,
                    .n_slices = c_.n_heads,
                    .slicing = Slicing::kHeads});
  }

  void attention(const std::string& b, const std::string& h) {
    vector(b + "attn_norm.weight", h + "input_layernorm.weight", c_.hidden_size);
    if (c_.layers.front().attention == AttentionKind::kGqa) {
      matrix(b + "attn_q.weight", h + "self_attn.q_proj.weight", c_.hidden_size, c_.n_heads * c_.head_dim);
      matrix(b + "attn_k.weight", h + "self_attn.k_proj.weight", c_.hidden_size, c_.n_kv_heads * c_.head_dim);
      matrix(b + "attn_v.weight", h + "self_attn.v_proj.weight", c_.hidden_size, c_.n_kv_heads * c_.head_dim);
      matrix(b + "attn_output.weight", h + "self_attn.o_proj.weight", c_.n_heads * c_.head_dim, c_.hidden_size);
      return;
    }
    const std::int64_t q_width = c_.n_heads * (c_.qk_nope_head_dim + c_.qk_rope_head_dim);
    if (c_.q_lora_rank > 0) {
      matrix(b + "attn_q_a.weight", h + "self_attn.q_a_proj.weight", c_.hidden_size, c_.q_lora_rank);
      bias(b + "attn_q_a.bias", h + "self_attn.q_a_proj.bias", c_.q_lora_rank);
      vector(b + "attn_q_a_norm.weight", h + "self_attn.q_a_layernorm.weight", c_.q_lora_rank);
      matrix(b + "attn_q_b.weight", h + "self_attn.q_b_proj.weight", c_.q_lora_rank, q_width);
    } else {
      matrix(b + "attn_q.weight", h + "self_attn.q_proj.weight", c_.hidden_size, q_width);
    }
    matrix(b + "attn_kv_a_mqa.weight", h + "self_attn.kv_a_proj_with_mqa.weight", c_.hidden_size,
           c_.kv_lora_rank + c_.qk_rope_head_dim);
    bias(b + "attn_kv_a_mqa.bias", h + "self_attn.kv_a_proj_with_mqa.bias", c_.kv_lora_rank + c_.qk_rope_head_dim);
    vector(b + "attn_kv_a_norm.weight", h + "self_attn.kv_a_layernorm.weight", c_.kv_lora_rank);
    heads(b + "attn_k_b.weight", c_.qk_nope_head_dim, c_.kv_lora_rank);
    heads(b + "attn_v_b.weight", c_.kv_lora_rank, c_.v_head_dim);
    matrix(b + "attn_output.weight", h + "self_attn.o_proj.weight", c_.n_heads * c_.v_head_dim, c_.hidden_size);
    bias(b + "attn_output.bias", h + "self_attn.o_proj.bias", c_.hidden_size);
  }

  void ffn(const std::string& b, const std::string& h, FfnKind kind) {
    vector(b + "ffn_norm.weight", h + "post_attention_layernorm.weight", c_.hidden_size);
    if (kind == FfnKind::kDense) {
      matrix(b + "ffn_gate.weight", h + "mlp.gate_proj.weight", c_.hidden_size, c_.intermediate_size);
      matrix(b + "ffn_up.weight", h + "mlp.up_proj.weight", c_.hidden_size, c_.intermediate_size);
      matrix(b + "ffn_down.weight", h + "mlp.down_proj.weight", c_.intermediate_size, c_.hidden_size);
      return;
    }
    matrix(b + "ffn_gate_inp.weight", h + "mlp.gate.weight", c_.hidden_size, c_.n_routed_experts);
    vector(b + "exp_probs_b.bias", h + "mlp.gate.e_score_correction_bias", c_.n_routed_experts, true);
    const std::int64_t width = c_.moe_intermediate_size;
    experts(b + "ffn_gate_exps.weight", h + "mlp.experts.{}.gate_proj.weight", c_.hidden_size, width);
    experts(b + "ffn_up_exps.weight", h + "mlp.experts.{}.up_proj.weight", c_.hidden_size, width);
    experts(b + "ffn_down_exps.weight", h + "mlp.experts.{}.down_proj.weight", width, c_.hidden_size);
    if (c_.n_shared_experts > 0) {
      const std::int64_t shared = width * c_.n_shared_experts;
      matrix(b + "ffn_gate_shexp.weight", h + "mlp.shared_experts.gate_proj.weight", c_.hidden_size, shared);
      matrix(b + "ffn_up_shexp.weight", h + "mlp.shared_experts.up_proj.weight", c_.hidden_size, shared);
      matrix(b + "ffn_down_shexp.weight", h + "mlp.shared_experts.down_proj.weight", shared, c_.hidden_size);
    }
  }

 private:
  const ModelConfig& c_;
  std::vector<WantedWeight>& out_;
};

}  // namespace

std::vector<WantedWeight> wanted_weights(const ModelConfig& c, bool mtp) {
  std::vector<WantedWeight> out;
  Builder build(c, out);
  if (!mtp) {
    build.matrix("token_embd.weight", "model.embed_tokens.weight", c.hidden_size, c.vocab_size);
    build.vector("output_norm.weight", "model.norm.weight", c.hidden_size);
    if (!c.tied_embeddings) build.matrix("output.weight", "lm_head.weight", c.hidden_size, c.vocab_size);
  }
  const std::int64_t begin = mtp ? c.n_layers : 0, end = mtp ? c.n_layers + c.n_mtp_layers : c.n_layers;
  for (std::int64_t layer = begin; layer < end; ++layer) {
    const std::string b = fmt::format("blk.{}.", layer), h = fmt::format("model.layers.{}.", layer);
    build.attention(b, h);
    build.ffn(b, h, mtp ? c.layers.back().ffn : c.layers[static_cast<std::size_t>(layer)].ffn);
    if (mtp) {
      build.matrix(b + "nextn.eh_proj.weight", h + "eh_proj.weight", 2 * c.hidden_size, c.hidden_size);
      build.vector(b + "nextn.enorm.weight", h + "enorm.weight", c.hidden_size);
      build.vector(b + "nextn.hnorm.weight", h + "hnorm.weight", c.hidden_size);
      build.matrix(b + "nextn.embed_tokens.weight", h + "embed_tokens.weight", c.hidden_size, c.vocab_size, true);
      build.matrix(b + "nextn.shared_head_head.weight", h + "shared_head.head.weight", c.hidden_size, c.vocab_size,
                   true);
      build.vector(b + "nextn.shared_head_norm.weight", h + "shared_head.norm.weight", c.hidden_size, true);
    }
  }
  return out;
}

}  // namespace dodeca::runtime
