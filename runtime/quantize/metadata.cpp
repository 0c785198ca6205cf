#include "runtime/quantize/metadata.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/load/json.hpp"
#include "runtime/quantize/metadata_keys.hpp"
#include "runtime/text/tokenizer.hpp"

namespace dodeca::runtime::quantize {
namespace {

constexpr std::uint32_t kQuantizationVersion = 2;  // of ggml's block formats

// With attn_k_b and attn_v_b the cached row is the latent with the shared rope part: one key-value head of that width,
// and the widths per head beside it. With attn_kv_b every head has keys and values of its own.
void set_layout(MetadataKeys& keys, const ModelConfig& c, bool fused_kv_b) {
  const std::int64_t key_width = c.qk_nope_head_dim + c.qk_rope_head_dim;
  keys.integer("attention.head_count_kv", fused_kv_b ? c.n_heads : 1);
  keys.integer("attention.key_length", fused_kv_b ? key_width : c.kv_lora_rank + c.qk_rope_head_dim);
  keys.integer("attention.value_length", fused_kv_b ? c.v_head_dim : c.kv_lora_rank);
  if (fused_kv_b) {
    keys.erase("attention.key_length_mla");
    keys.erase("attention.value_length_mla");
    return;
  }
  keys.integer("attention.key_length_mla", key_width);
  keys.integer("attention.value_length_mla", c.v_head_dim);
}

void set_layer_count(MetadataKeys& keys, const ModelConfig& c, bool keep_mtp) {
  keys.integer("block_count", c.n_layers + (keep_mtp ? c.n_mtp_layers : 0));
  if (keep_mtp) keys.integer("nextn_predict_layers", c.n_mtp_layers);
}

void set_rope(MetadataKeys& keys, const ModelConfig& c) {
  // GGUF has one YaRN multiplier for both; readers take the factor on cos and sin to be 1.
  if (std::abs(c.rope.magnitude - 1.0) > 1e-6) {
    throw Error(
        ErrorKind::kUnsupported,
        fmt::format("rope_scaling has an mscale that differs from mscale_all_dim (cos and sin times {:.6f}), which a "
                    "GGUF file cannot say; the directory itself can be run",
                    c.rope.magnitude));
  }
  if (c.rope.yarn) {
    keys.set("rope.scaling.type", std::string("yarn"));
    keys.real("rope.scaling.factor", c.rope.factor);
    keys.integer("rope.scaling.original_context_length", c.rope.original_context);
    keys.real("rope.scaling.yarn_beta_fast", c.rope.beta_fast);
    keys.real("rope.scaling.yarn_beta_slow", c.rope.beta_slow);
  } else if (c.rope.factor != 1.0) {
    keys.set("rope.scaling.type", std::string("linear"));
    keys.real("rope.scaling.factor", c.rope.factor);
  }
  keys.real("rope.freq_base", c.rope.base);
}

void set_indexer(MetadataKeys& keys, const ModelConfig& c) {
  const RopePairing usual = c.architecture == "glm-dsa" ? RopePairing::kInterleaved : RopePairing::kHalves;
  if (c.indexer.pairing != usual)
    throw Error(
        ErrorKind::kUnsupported,
        fmt::format("the indexer rotates {}, which a GGUF file of {} cannot say; the directory itself can be run",
                    c.indexer.pairing == RopePairing::kHalves ? "halves of a head" : "neighbouring values",
                    c.architecture));
  keys.integer("attention.indexer.head_count", c.indexer.n_heads);
  keys.integer("attention.indexer.key_length", c.indexer.head_dim);
  keys.integer("attention.indexer.top_k", c.indexer.top_k);
  MetaArray<bool> types;
  for (std::int64_t layer = 0; layer < c.n_layers; ++layer) types.values.push_back(c.chooses(layer));
  // Also where every layer has its own: readers have a rule for long contexts without a list.
  keys.set("attention.indexer.types", std::move(types));
}

// The keys of latent attention alone.
void set_latent(Metadata& metadata, MetadataKeys& keys, const ModelConfig& c, const OutputFacts& facts) {
  set_layout(keys, c, facts.fused_kv_b);
  set_rope(keys, c);
  keys.real("attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  if (c.n_routed_experts > 0) set_experts(keys, c);
  if (c.indexer.n_heads > 0) set_indexer(keys, c);
  metadata.set("general.file_type", facts.file_type);
  keys.integer("leading_dense_block_count", leading_dense_layers(c));
  keys.integer("vocab_size", c.vocab_size);
  if (c.q_lora_rank > 0) keys.integer("attention.q_lora_rank", c.q_lora_rank);
  keys.integer("attention.kv_lora_rank", c.kv_lora_rank);
  keys.integer("expert_feed_forward_length", c.n_routed_experts > 0 ? c.moe_intermediate_size : c.intermediate_size);
  keys.integer("expert_shared_count", c.n_shared_experts);
  keys.real("expert_weights_scale", c.routed_scaling_factor);
  // Where sigmoid routing is, readers wonder when the key is missing.
  if (c.norm_topk_prob || c.gating == GatingKind::kSigmoid) keys.set("expert_weights_norm", c.norm_topk_prob);
  keys.integer("rope.dimension_count", c.qk_rope_head_dim);
  // Readers expect YaRN's factor 0.1 to be in this value already.
  if (c.rope.yarn && c.rope.mscale_all_dim != 0) {
    keys.real("rope.scaling.yarn_log_multiplier", 0.1 * c.rope.mscale_all_dim);
  }
}

// Sampling defaults that the publisher recommends (generation_config.json), under the names that converters give them.
void set_sampling(Metadata& metadata, const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / "generation_config.json";
  if (!std::filesystem::exists(file)) return;
  const Json json = read_json(file);
  if (!json.is_object()) return;
  const auto number = [&](const char* key, const char* name) {
    if (const auto it = json.find(key); it != json.end() && it->is_number()) {
      metadata.set(fmt::format("general.sampling.{}", name), it->get<float>());
    }
  };
  if (const auto it = json.find("top_k"); it != json.end() && it->is_number_integer()) {
    metadata.set("general.sampling.top_k", it->get<std::int32_t>());
  }
  number("top_p", "top_p");
  number("min_p", "min_p");
  number("temperature", "temp");
  number("repetition_penalty", "penalty_repeat");
}

Metadata from_directory(const WeightSource& source, const OutputFacts& facts, const Log& log) {
  const ModelConfig& c = source.config();
  Metadata metadata;
  metadata.set("general.architecture", c.architecture);
  metadata.set("general.type", std::string("model"));
  set_sampling(metadata, source.path());
  metadata.set("general.name", c.name);
  metadata.set("general.size_label", size_label(source));

  MetadataKeys keys(metadata, c.architecture + ".");
  set_layer_count(keys, c, facts.keep_mtp);
  keys.integer("context_length", c.context_length);
  keys.integer("embedding_length", c.hidden_size);
  keys.integer("feed_forward_length", c.intermediate_size);
  keys.integer("attention.head_count", c.n_heads);
  if (is_grouped(c)) {
    set_grouped(keys, c);
    keys.real("attention.layer_norm_rms_epsilon", c.rms_norm_eps);
    metadata.set("general.file_type", facts.file_type);
    keys.integer("vocab_size", c.vocab_size);
  } else {
    set_latent(metadata, keys, c, facts);
  }
  metadata.set("general.quantization_version", kQuantizationVersion);

  std::error_code none;  // a source without files has no path
  if (std::filesystem::is_directory(source.path(), none) && Tokenizer::available(source.path())) {
    Tokenizer::from_directory(source.path()).write_metadata(metadata, c.vocab_size);
  } else {
    log(Level::kWarning, fmt::format("{} has no tokenizer: the file will have no vocabulary", source.path().string()));
    metadata.set("tokenizer.ggml.model", std::string("none"));
  }
  return metadata;
}

Metadata from_gguf(const WeightSource& source, const OutputFacts& facts) {
  const ModelConfig& c = source.config();
  Metadata metadata = source.gguf()->metadata();
  for (const char* key : {"split.no", "split.count", "split.tensors.count"}) metadata.erase(key);
  metadata.set("general.file_type", facts.file_type);
  metadata.set("general.quantization_version", kQuantizationVersion);
  MetadataKeys keys(metadata, c.architecture + ".");
  if (c.n_mtp_layers > 0) {
    set_layer_count(keys, c, facts.keep_mtp);
    if (!facts.keep_mtp) keys.erase("nextn_predict_layers");
  }
  if (!is_grouped(c)) set_layout(keys, c, facts.fused_kv_b);
  return metadata;
}

}  // namespace

std::string size_label(const WeightSource& source) {
  // Routed experts count once: the label's first number says how many there are.
  double shared = 0, per_expert = 0;
  for (const WeightInfo& weight : source.weights()) {
    const bool routed = is_routed(weight.id.role);
    (routed ? per_expert : shared) +=
        static_cast<double>(weight.n_elements()) / static_cast<double>(routed ? weight.n_slices : 1);
  }
  double size = shared + per_expert;
  const char* unit = "K";
  if (size > 1e12) {
    size *= 1e-12;
    unit = "T";
  } else if (size > 1e9) {
    size *= 1e-9;
    unit = "B";
  } else if (size > 1e6) {
    size *= 1e-6;
    unit = "M";
  } else {
    size *= 1e-3;
  }
  const double rounded = std::nearbyint(size);
  const int decimals = rounded >= 10 ? 0 : rounded >= 1 ? 1 : 2;
  const std::string text = fmt::format("{:.{}f}{}", size, decimals, unit);
  const std::int64_t n_experts = source.config().n_routed_experts;
  return n_experts > 0 ? fmt::format("{}x{}", n_experts, text) : text;
}

Metadata output_metadata(const WeightSource& source, const OutputFacts& facts, const Log& log) {
  return source.gguf() != nullptr ? from_gguf(source, facts) : from_directory(source, facts, log);
}

}  // namespace dodeca::runtime::quantize
