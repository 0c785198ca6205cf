#include "runtime/model/gguf_keys.hpp"

namespace dodeca::runtime {

void tell_default(const GgufKeys& keys, std::string_view key, std::string_view what, Level level, const Log& log) {
  log(level, fmt::format("the file has no {}{}: {}", keys.prefix(), key, what));
}

std::string scaling_type(const GgufKeys& keys, const Log& log) {
  if (const auto type = keys.string("rope.scaling.type")) return *type;
  for (const char* key : {"rope.scaling.yarn_log_multiplier", "rope.scaling.yarn_beta_fast",
                          "rope.scaling.yarn_beta_slow", "rope.scaling.yarn_ext_factor"})
    if (keys.has(key)) {
      tell_default(keys, "rope.scaling.type", fmt::format("yarn, as there is {}{}", keys.prefix(), key), Level::kInfo,
                   log);
      return "yarn";
    }
  if (keys.number("rope.scale_linear").value_or(1.0) != 1.0) return "linear";
  if (const double factor = keys.number("rope.scaling.factor").value_or(1.0); factor != 1.0 && factor != 0.0)
    throw keys
        .missing("rope.scaling.type",
                 fmt::format(" and a {}rope.scaling.factor of {:g}, which linear and yarn use differently",
                             keys.prefix(), factor))
        .with(Remedy::kSetKey);
  return "none";
}

std::optional<GatingKind> gating_by_key(const GgufKeys& keys) {
  switch (keys.integer_or("expert_gating_func", 0)) {
    case 0:
      return std::nullopt;
    case 1:
      return GatingKind::kSoftmax;
    case 2:
      return GatingKind::kSigmoid;
    case 3:
      return GatingKind::kSoftmaxSelected;
    default:
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("{}expert_gating_func {} (known: 1 softmax, 2 sigmoid, 3 softmax of the selected)",
                              keys.prefix(), keys.integer("expert_gating_func")));
  }
}

void read_layer_count(const GgufKeys& keys, const TensorFacts& facts, ModelConfig& c, const Log& log) {
  const auto n_mtp = keys.maybe("nextn_predict_layers");
  const std::int64_t block_count = keys.integer("block_count");
  if (n_mtp.value_or(0) < 0 || block_count < 1 || block_count > 1024 || n_mtp.value_or(0) >= block_count)
    throw Error(ErrorKind::kBadFile,
                fmt::format("block_count {} with nextn_predict_layers {}", block_count, n_mtp.value_or(0)));
  c.n_mtp_layers = n_mtp.value_or(0);
  if (!n_mtp) {
    while (c.n_mtp_layers < block_count - 1 && facts.is_mtp_layer(block_count - 1 - c.n_mtp_layers)) ++c.n_mtp_layers;
    if (c.n_mtp_layers > 0)
      log(Level::kInfo, fmt::format("the file has no {}nextn_predict_layers: {}, as blk.{}.{} shows", keys.prefix(),
                                    c.n_mtp_layers, block_count - 1, kGgufNames.mtp));
  }
  c.n_layers = block_count - c.n_mtp_layers;
  for (std::int64_t layer = c.n_layers; c.n_mtp_layers > 0 && layer < block_count + c.n_mtp_layers; ++layer)
    if (facts.is_mtp_layer(layer) != (layer < block_count) && (layer >= block_count || facts.has_ffn(layer)))
      throw Error(ErrorKind::kBadFile,
                  fmt::format("block_count is {} with {} multi-token-prediction layers in it, and blk.{} {} one "
                              "(nextn.eh_proj.weight)",
                              block_count, c.n_mtp_layers, layer, facts.is_mtp_layer(layer) ? "is" : "is not"));
}

void read_vocabulary(const Metadata& metadata, const GgufKeys& keys, const FindMatrix& find, ModelConfig& c,
                     const Log& log) {
  const auto embeddings = find("token_embd.weight");
  if (!embeddings) throw Error(ErrorKind::kBadFile, "the file has no matrix token_embd.weight: it holds no model");
  c.vocab_size = embeddings->n_out;
  if (const auto by_key = keys.maybe("vocab_size"); by_key && *by_key != c.vocab_size)
    log(Level::kInfo, fmt::format("{}vocab_size is {} and token_embd.weight has {} rows: the tensor decides",
                                  keys.prefix(), *by_key, c.vocab_size));
  const MetaValue* tokens = metadata.find("tokenizer.ggml.tokens");
  if (const auto* texts = tokens == nullptr ? nullptr : std::get_if<MetaArray<std::string>>(tokens);
      texts != nullptr && static_cast<std::int64_t>(texts->values.size()) > c.vocab_size)
    throw Error(ErrorKind::kBadFile, fmt::format("the vocabulary has {} tokens and token_embd.weight {} rows",
                                                 texts->values.size(), c.vocab_size));
  c.tied_embeddings = !find("output.weight");
  if (c.tied_embeddings) log(Level::kInfo, "the file has no output.weight: token_embd.weight is used for both");
}

}  // namespace dodeca::runtime
