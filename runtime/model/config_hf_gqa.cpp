// Hyper-parameters from a Hugging Face config.json: model types qwen3_moe, glm4_moe, minimax_m2, gpt_oss, llama and
// mixtral.
#include "runtime/model/config_hf_gqa.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "runtime/model/tensor_facts.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::string_view kTypes[] = {"qwen3_moe", "glm4_moe", "minimax_m2", "gpt_oss", "llama", "mixtral"};

constexpr TellingNames with_router(std::string_view router, std::string_view bias, std::string_view count) {
  TellingNames names = kHfNames;
  names.dense_count = "the list of dense layers";
  names.router = router;
  names.selection_bias = bias;
  names.expert_count = count;
  return names;
}
constexpr TellingNames kQwenNames = with_router(kHfNames.router, kHfNames.selection_bias, "num_experts"),
                       kSparseNames = with_router("block_sparse_moe.gate.weight",
                                                  "block_sparse_moe.e_score_correction_bias", "num_local_experts"),
                       kOssNames = with_router("mlp.router.weight", kHfNames.selection_bias, "num_local_experts");

const TellingNames& names_of(std::string_view type) {
  if (type == "glm4_moe") return kHfNames;
  if (type == "gpt_oss") return kOssNames;
  return type == "mixtral" || type == "minimax_m2" ? kSparseNames : kQwenNames;
}

class Reader {
 public:
  Reader(std::string_view type, const HfFields& fields, const FindMatrix& size_of, const Log& log)
      : type_(type), fields_(fields), size_of_(size_of), log_(log), facts_(names_of(type), size_of, log) {}

  ModelConfig read() {
    static constexpr std::pair<std::string_view, std::string_view> kArchitectures[] = {
        {"qwen3_moe", "qwen3moe"}, {"glm4_moe", "glm4moe"}, {"minimax_m2", "minimax-m2"},
        {"gpt_oss", "gpt-oss"},    {"llama", "llama"},      {"mixtral", "llama"}};
    const auto* architecture = std::ranges::find(kArchitectures, type_, [](const auto& entry) { return entry.first; });
    c_.architecture = architecture->second;
    c_.vocab_size = fields_.integer("vocab_size");
    c_.hidden_size = fields_.integer("hidden_size");
    c_.n_layers = fields_.integer("num_hidden_layers");
    if (is("glm4_moe")) c_.n_mtp_layers = fields_.integer_or("num_nextn_predict_layers", 0);
    c_.context_length = fields_.integer_or("max_position_embeddings", 4096);
    c_.rms_norm_eps = fields_.number_or("rms_norm_eps", is("mixtral") || is("gpt_oss") || is("glm4_moe") ? 1e-5 : 1e-6);
    read_tied();
    read_heads();
    read_rope();
    read_ffn();
    for (LayerConfig& layer : c_.layers) layer.attention = AttentionKind::kGqa;
    read_windows();
    return std::move(c_);
  }

 private:
  bool is(std::string_view type) const { return type_ == type; }
  bool has(std::string_view tensor) const { return size_of_ && size_of_(tensor); }
  void say_default(std::string_view key, std::string_view what) const {
    log_(Level::kInfo, fmt::format("config.json has no {}: {}", key, what));
  }
  [[noreturn]] static void refuse(std::string_view what) {
    throw Error(ErrorKind::kUnsupported, fmt::format("config.json: {}", what));
  }
  static void refuse_unless(bool ok, std::string_view what) {
    if (!ok) refuse(what);
  }

  void read_tied() {
    c_.tied_embeddings = fields_.boolean_or("tie_word_embeddings", false);
    if (size_of_ && fields_.find("tie_word_embeddings") == nullptr && !has("lm_head.weight")) {
      say_default("tie_word_embeddings", "true, as the checkpoint has no lm_head.weight");
      c_.tied_embeddings = true;
    }
  }

  void read_heads() {
    c_.n_heads = fields_.integer("num_attention_heads");
    c_.n_kv_heads = fields_.integer_or("num_key_value_heads", is("mixtral") ? 8 : c_.n_heads);
    c_.head_dim = fields_.maybe("head_dim").value_or(c_.n_heads > 0 ? c_.hidden_size / c_.n_heads : 0);
    c_.attention_bias = fields_.boolean_or("attention_bias", is("gpt_oss"));
    if (fields_.find("attention_bias") == nullptr && has("model.layers.0.self_attn.q_proj.bias"))
      c_.attention_bias = true;
    c_.output_bias = c_.attention_bias && !is("glm4_moe");  // its output projection never has one
    if (is("qwen3_moe") || (is("glm4_moe") && fields_.boolean_or("use_qk_norm", false))) c_.qk_norm = QkNorm::kPerHead;
    if (is("minimax_m2")) {
      if (const std::string kind = fields_.string_or("qk_norm_type", "per_layer"); kind != "per_layer")
        refuse(fmt::format("qk_norm_type is '{}' (known: per_layer)", kind));
      if (fields_.boolean_or("use_qk_norm", true)) c_.qk_norm = QkNorm::kWhole;
    }
    c_.attention_sinks = is("gpt_oss");
  }

  // ---- rope ---------------------------------------------------------------------------------------------------------

  void read_rope() {
    const Json* scaling = fields_.object("rope_scaling");
    if (scaling == nullptr) scaling = fields_.object("rope_parameters");  // newer transformers; rope_theta moves inside
    // What transformers' class takes.
    const Json usual = is("gpt_oss") ? Json{{"rope_type", "yarn"},
                                            {"factor", 32.0},
                                            {"original_max_position_embeddings", 4096},
                                            {"truncate", false}}
                                     : Json::object();
    if (scaling == nullptr && is("gpt_oss")) say_default("rope_scaling", "YaRN, factor 32 from 4096 positions");
    const HfFields rope(scaling != nullptr ? *scaling : usual);
    const double fallback = is("mixtral") ? 1e6 : is("minimax_m2") ? 5e6 : is("gpt_oss") ? 150000.0 : 10000.0;
    if (fields_.find("rope_theta") == nullptr && rope.find("rope_theta") == nullptr)
      say_default("rope_theta", fmt::format("{:.0f}", fallback));
    c_.rope.base = rope.number_or("rope_theta", fields_.number_or("rope_theta", fallback));
    // Llama's rows are presented as GGUF has them, which turns neighbours (hf_source.cpp).
    c_.rope.pairing = c_.architecture == "llama" ? RopePairing::kInterleaved : RopePairing::kHalves;
    const double part =
        rope.number_or("partial_rotary_factor", fields_.number_or("partial_rotary_factor", is("glm4_moe") ? 0.5 : 1.0));
    c_.rope.dim = static_cast<std::int64_t>(
        std::floor(static_cast<double>(std::clamp<std::int64_t>(c_.head_dim, 0, 65536)) * std::clamp(part, 0.0, 1.0)));
    if (is("minimax_m2")) c_.rope.dim = fields_.integer_or("rotary_dim", c_.rope.dim);
    const std::string type = rope.string_or("rope_type", rope.string_or("type", "default"));
    if (type == "default")
      return refuse_unless(rope.number_or("factor", 1.0) == 1.0, "rope scaling with a factor and no type");
    if (type == "llama3") return read_llama3(rope);
    c_.rope.factor = rope.number("factor");
    if (type == "linear") return;
    refuse_unless(type == "yarn",
                  fmt::format("rope scaling '{}' is not supported (known: default, linear, yarn, llama3)", type));
    c_.rope.yarn = true;
    c_.rope.original_context = rope.integer_or("original_max_position_embeddings", c_.context_length);
    c_.rope.beta_fast = rope.number_or("beta_fast", 32.0);
    c_.rope.beta_slow = rope.number_or("beta_slow", 1.0);
    c_.rope.whole_bounds = rope.boolean_or("truncate", true);
    const auto mscale = [&](double m) { return c_.rope.factor > 1.0 ? 0.1 * m * std::log(c_.rope.factor) + 1.0 : 1.0; };
    const double m = rope.number_or("mscale", 0.0), all = rope.number_or("mscale_all_dim", 0.0);
    c_.rope.magnitude =
        rope.number_or("attention_factor", m != 0.0 && all != 0.0 ? mscale(m) / mscale(all) : mscale(1.0));
  }

  // Low frequencies are stretched, high ones stay, what is between goes over smoothly (Llama 3.1).
  void read_llama3(const HfFields& rope) {
    const double factor = rope.number("factor"), low = rope.number("low_freq_factor"),
                 high = rope.number("high_freq_factor"),
                 context = static_cast<double>(rope.integer("original_max_position_embeddings"));
    refuse_unless(factor >= 1e-3 && factor <= 1e6 && low > 0.0 && high > low && context > 0.0 && c_.rope.dim >= 2 &&
                      c_.rope.dim <= 65536 && c_.rope.dim % 2 == 0,
                  fmt::format("rope scaling llama3 with factor {:g}, low_freq_factor {:g}, high_freq_factor {:g}, "
                              "original context {:g} and {} dimensions makes no sense",
                              factor, low, high, context, c_.rope.dim));
    for (std::int64_t i = 0; i < c_.rope.dim / 2; ++i) {
      const double theta = std::pow(c_.rope.base, -2.0 * static_cast<double>(i) / static_cast<double>(c_.rope.dim)),
                   turns = context * theta / (2.0 * std::numbers::pi),
                   kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
      // As float, which GGUF keeps them in.
      c_.rope.factors.push_back(static_cast<float>(1.0 / ((1.0 - kept) / factor + kept)));
    }
  }

  // ---- feed-forward -------------------------------------------------------------------------------------------------

  void read_ffn() {
    if (const std::string act = fields_.string_or("hidden_act", "silu"); act != "silu")
      refuse(fmt::format("hidden_act '{}' is not supported (known: silu)", act));
    refuse_unless(!fields_.boolean_or("mlp_bias", false), "mlp_bias is not supported");
    c_.intermediate_size = fields_.integer_or("intermediate_size", 0);
    if (!is("llama")) read_experts();
    facts_.set_layers(layers_with_experts(), c_);
  }

  void read_experts() {
    const char* count = is("glm4_moe") ? "n_routed_experts" : is("qwen3_moe") ? "num_experts" : "num_local_experts";
    facts_.set_expert_count(fields_.find(count) != nullptr ? fields_.maybe(count) : fields_.maybe("num_local_experts"),
                            c_);
    if (c_.n_routed_experts == 0) return;
    c_.n_experts_per_tok = fields_.integer("num_experts_per_tok");
    c_.moe_intermediate_size = is("glm4_moe") || is("qwen3_moe") ? fields_.integer("moe_intermediate_size")
                                                                 : fields_.integer("intermediate_size");
    facts_.set_shared_count(fields_.maybe("n_shared_experts"), c_);
    if (is("glm4_moe")) c_.routed_scaling_factor = fields_.number_or("routed_scaling_factor", 1.0);
    c_.norm_topk_prob = is("glm4_moe")    ? fields_.boolean_or("norm_topk_prob", true)
                        : is("qwen3_moe") ? fields_.boolean_or("norm_topk_prob", false)
                                          : true;
    if (const std::string scoring = fields_.string_or("scoring_func", "sigmoid");
        is("minimax_m2") && scoring != "sigmoid")
      refuse(fmt::format("scoring_func '{}' is not supported (known: sigmoid)", scoring));
    c_.gating = is("glm4_moe") || is("minimax_m2") ? GatingKind::kSigmoid
                : is("gpt_oss")                    ? GatingKind::kSoftmaxSelected
                                                   : GatingKind::kSoftmax;
    if (is("glm4_moe")) {
      c_.n_group = fields_.integer_or("n_group", 1);
      c_.topk_group = fields_.integer_or("topk_group", 1);
    }
    if (is("gpt_oss")) {
      c_.router_bias = c_.expert_bias = true;
      c_.activation = ActivationKind::kClampedSwiGlu;
      if (const double limit = fields_.number_or("swiglu_limit", 7.0); limit != 7.0)
        refuse(fmt::format("swiglu_limit {:g} is not supported (known: 7)", limit));
    }
  }

  std::function<bool(std::int64_t)> layers_with_experts() const {
    if (is("qwen3_moe")) {
      const std::int64_t every = fields_.integer_or("decoder_sparse_step", 1);
      std::vector<std::int64_t> dense;
      if (const Json* list = fields_.find("mlp_only_layers"); list != nullptr && list->is_array()) {
        for (const Json& layer : *list) {
          refuse_unless(layer.is_number_integer(), "mlp_only_layers is no list of integers");
          dense.push_back(layer.get<std::int64_t>());
        }
      }
      return [dense, every](std::int64_t layer) {
        return std::ranges::find(dense, layer) == dense.end() && every > 0 && (layer + 1) % every == 0;
      };
    }
    if (!is("glm4_moe")) return {};
    return [first = fields_.integer_or("first_k_dense_replace", 1)](std::int64_t layer) { return layer >= first; };
  }

  void read_windows() {
    const std::int64_t window = fields_.integer_or("sliding_window", 0);
    if (is("qwen3_moe") && fields_.boolean_or("use_sliding_window", false))
      refuse("use_sliding_window is not supported for qwen3_moe");
    if (is("mixtral") && window > 0)
      for (LayerConfig& layer : c_.layers) layer.window = window;
    if (!is("gpt_oss")) return;
    const Json* types = fields_.find("layer_types");
    for (std::int64_t layer = 0; layer < std::ssize(c_.layers); ++layer) {
      bool windowed = layer % 2 == 0;
      if (types != nullptr) {
        refuse_unless(types->is_array() && layer < std::ssize(*types), "layer_types does not name every layer");
        const Json& type = (*types)[static_cast<std::size_t>(layer)];
        windowed = type == "sliding_attention";
        refuse_unless(windowed || type == "full_attention",
                      fmt::format("layer_types has {} (known: sliding_attention, full_attention)", type.dump()));
      }
      if (windowed) c_.layers[layer].window = fields_.integer_or("sliding_window", 128);
    }
  }

  std::string_view type_;
  const HfFields& fields_;
  const FindMatrix& size_of_;
  const Log& log_;
  TensorFacts facts_;
  ModelConfig c_;
};

}  // namespace

std::span<const std::string_view> grouped_model_types() { return kTypes; }

ModelConfig grouped_from_hf(std::string_view type, const HfFields& fields, const FindMatrix& size_of, const Log& log) {
  return Reader(type, fields, size_of, log).read();
}

}  // namespace dodeca::runtime
