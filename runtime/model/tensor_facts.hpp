// What a file's tensors show of a model whatever its keys say, so that the default of a missing key is not taken
// against the evidence. A key and the tensors that contradict each other are an Error{kBadFile} with both facts; what
// only the tensors say is taken from them and said in one line.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/log.hpp"
#include "runtime/model/config.hpp"

namespace dodeca::runtime {

// Names of the telling tensors behind "blk.N." or "model.layers.N.", and of the keys.
struct TellingNames {
  std::string_view layer, router, selection_bias, dense_gate, shared_gate, q_a, mtp;
  std::string_view expert_count, shared_count, dense_count, mtp_count;
};
inline constexpr TellingNames kGgufNames{.layer = "blk.",
                                         .router = "ffn_gate_inp.weight",
                                         .selection_bias = "exp_probs_b.bias",
                                         .dense_gate = "ffn_gate.weight",
                                         .shared_gate = "ffn_gate_shexp.weight",
                                         .q_a = "attn_q_a.weight",
                                         .mtp = "nextn.eh_proj.weight",
                                         .expert_count = "expert_count",
                                         .shared_count = "expert_shared_count",
                                         .dense_count = "leading_dense_block_count",
                                         .mtp_count = "nextn_predict_layers"};
inline constexpr TellingNames kHfNames{.layer = "model.layers.",
                                       .router = "mlp.gate.weight",
                                       .selection_bias = "mlp.gate.e_score_correction_bias",
                                       .dense_gate = "mlp.gate_proj.weight",
                                       .shared_gate = "mlp.shared_experts.gate_proj.weight",
                                       .q_a = "self_attn.q_a_proj.weight",
                                       .mtp = "eh_proj.weight",
                                       .expert_count = "n_routed_experts",
                                       .shared_count = "n_shared_experts",
                                       .dense_count = "first_k_dense_replace",
                                       .mtp_count = "num_nextn_predict_layers"};

class TensorFacts {
 public:
  // `find` may be empty: then nothing is shown and the keys decide alone.
  TensorFacts(const TellingNames& names, FindMatrix find, const Log& log)
      : names_(names), find_(std::move(find)), log_(log) {}

  // 0 where q is one projection. The tensors decide: some files carry the key without meaning it.
  std::int64_t q_lora_rank(std::int64_t by_key) const;
  bool is_mtp_layer(std::int64_t layer) const { return has(layer, names_.mtp); }
  bool has_ffn(std::int64_t layer) const { return has(layer, names_.router) || has(layer, names_.dense_gate); }

  // The numbers of a mixture, nullopt: the file has no such key. Sets c.n_routed_experts.
  void set_expert_count(std::optional<std::int64_t> by_key, ModelConfig& c) const;
  // Needs c.moe_intermediate_size. Sets c.n_shared_experts.
  void set_shared_count(std::optional<std::int64_t> by_key, ModelConfig& c) const;
  // Sets c.layers; has_experts: what the keys say of a layer, empty where they say nothing.
  void set_layers(const std::function<bool(std::int64_t layer)>& has_experts, ModelConfig& c) const;
  // How experts are chosen; without a key, sigmoid where there is a selection bias: nothing else has one.
  GatingKind gating(std::optional<GatingKind> by_key, GatingKind otherwise, std::string_view key,
                    const ModelConfig& c) const;
  bool selection_bias(const ModelConfig& c) const { return first_layer(names_.selection_bias, c.n_layers) >= 0; }

 private:
  std::string name(std::int64_t layer, std::string_view tensor) const;
  std::optional<MatrixSize> size(std::int64_t layer, std::string_view tensor) const;
  bool has(std::int64_t layer, std::string_view tensor) const { return size(layer, tensor).has_value(); }
  std::int64_t first_layer(std::string_view tensor, std::int64_t n_layers) const;  // that has it, or -1

  const TellingNames& names_;
  FindMatrix find_;
  const Log& log_;
};

}  // namespace dodeca::runtime
