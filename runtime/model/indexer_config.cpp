#include "runtime/model/indexer_config.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/model/hf_fields.hpp"

namespace dodeca::runtime {
namespace {

// Which layers have an indexer of their own; nothing where the file does not say it.
using Owners = std::optional<std::vector<bool>>;

// GLM-5.2's rule: the first layers, and then every `every`-th.
std::vector<bool> owners_by_rule(std::int64_t n_layers, std::int64_t every, std::int64_t offset) {
  std::vector<bool> owners;
  for (std::int64_t layer = 0; layer < n_layers; ++layer)
    owners.push_back(std::max<std::int64_t>(layer - offset + 1, 0) % every == 0);
  return owners;
}

struct IndexerNames {
  std::string_view layer, query, types;
};

// Brings keys and tensors together. `by_key`: what the file says; `otherwise`: what holds where it says nothing.
void settle(const IndexerNames& names, const FindMatrix& find, const ConfigOptions& options, const Owners& by_key,
            const std::vector<bool>& otherwise, ModelConfig& c, const Log& log) {
  if (options.dense_attention) {
    log(Level::kInfo, "attention is dense, as was asked for: the model's indexer is not used");
    c.indexer = {};
    return;
  }
  const std::int64_t n_layers = std::ssize(c.layers);  // what there is of a number that nobody has checked yet
  if (n_layers == 0) return;
  if (by_key && std::ssize(*by_key) < n_layers)
    throw Error(ErrorKind::kBadFile, fmt::format("{} names {} layers of {}", names.types, by_key->size(), n_layers));
  const auto shown = [&](std::int64_t layer) {
    return find(fmt::format("{}{}.{}", names.layer, layer, names.query)).has_value();
  };
  std::int64_t n_shown = 0;
  for (std::int64_t layer = 0; find && layer < n_layers; ++layer) n_shown += shown(layer);
  if (find && n_shown == 0) {
    log(Level::kWarning,
        fmt::format(
            "the model chooses {} positions by an indexer, and there are no tensors of it ({}0.{}, ...): attention "
            "is dense, which is the same up to so many positions",
            c.indexer.top_k, names.layer, names.query));
    c.indexer = {};
    return;
  }
  std::vector<bool> owners = by_key.value_or(otherwise);
  bool differs = false;
  for (std::int64_t layer = 0; layer < n_layers; ++layer) {
    if (find && owners[layer] && !shown(layer)) {
      if (by_key)
        throw Error(ErrorKind::kBadFile, fmt::format("{} says that layer {} has an indexer, and there is no {}{}.{}",
                                                     names.types, layer, names.layer, layer, names.query));
      if (c.architecture == "deepseek32")
        throw Error(ErrorKind::kBadFile, fmt::format("layer {} has no {}{}.{}, and other layers have: every layer of "
                                                     "this architecture has an indexer",
                                                     layer, names.layer, layer, names.query));
      owners[layer] = false;
      differs = true;
    }
    c.layers[layer].has_indexer = owners[layer];
  }
  if (!owners.front())
    throw Error(ErrorKind::kBadFile,
                "layer 0 has no indexer, and there is no earlier layer whose choice it could take");
  if (differs)
    log(Level::kInfo, fmt::format("{} is missing: {} of {} layers have an indexer, as their tensors show", names.types,
                                  std::ranges::count(owners, true), n_layers));
}

bool parse_type(const Json& type) {
  if (type != "full" && type != "shared")
    throw Error(ErrorKind::kUnsupported,
                fmt::format("config.json: indexer_types has {} (known: full, shared)", type.dump()));
  return type == "full";
}

Owners owners_of_json(const HfFields& fields, std::int64_t n_layers) {
  std::vector<bool> owners;
  if (const Json* types = fields.find("indexer_types"); types != nullptr && types->is_array()) {
    for (const Json& type : *types) owners.push_back(parse_type(type));
    return owners;
  }
  if (const Json* pattern = fields.find("index_topk_pattern"); pattern != nullptr && pattern->is_string()) {
    for (const char letter : pattern->get<std::string>()) {
      if (letter != 'F' && letter != 'S')
        throw Error(ErrorKind::kUnsupported, "config.json: index_topk_pattern has letters other than F and S");
      owners.push_back(letter == 'F');
    }
    return owners;
  }
  const std::int64_t every = fields.integer_or("index_topk_freq", 1);
  if (every <= 1) return std::vector<bool>(static_cast<std::size_t>(n_layers), true);
  const std::int64_t offset = fields.integer_or("index_skip_topk_offset", 2);
  if (offset < 0 || offset > 1024)
    throw Error(ErrorKind::kBadFile,
                fmt::format("config.json: index_skip_topk_offset is {}, must be 0 to 1024", offset));
  return owners_by_rule(n_layers, every, offset);
}

}  // namespace

void read_indexer_gguf(const Metadata& metadata, const FindMatrix& find, const ConfigOptions& options, ModelConfig& c,
                       const Log& log) {
  const std::string prefix = c.architecture + ".attention.indexer.";
  const auto number = [&](const char* key) {
    if (const auto value = metadata.integer(prefix + key)) return *value;
    throw Error(ErrorKind::kBadFile, fmt::format("the file has no key {}{}", prefix, key));
  };
  if (c.architecture == "deepseek2") {
    if (find("blk.0.indexer.attn_q_b.weight"))
      throw Error(ErrorKind::kUnsupported,
                  "the file has an indexer (blk.0.indexer.attn_q_b.weight) and calls itself deepseek2, which has none; "
                  "DeepSeek-V3.2 is called deepseek32");
    return;
  }
  if (metadata.find(prefix + "head_count") == nullptr && !find("blk.0.indexer.attn_q_b.weight")) {
    log(Level::kInfo, fmt::format("the file has no {}head_count and no indexer: attention is dense", prefix));
    return;
  }
  c.indexer = {.n_heads = number("head_count"),
               .head_dim = number("key_length"),
               .top_k = number("top_k"),
               .pairing = c.architecture == "glm-dsa" ? RopePairing::kInterleaved : RopePairing::kHalves};
  Owners by_key;
  if (const MetaValue* value = metadata.find(prefix + "types")) {
    if (const auto* flags = std::get_if<MetaArray<bool>>(value)) {
      by_key.emplace(flags->values.begin(), flags->values.end());
    } else {
      const std::vector<std::int64_t> types = metadata.integers(prefix + "types").value();
      by_key.emplace();
      for (const std::int64_t type : types) by_key->push_back(type != 0);
    }
  }
  // Files of GLM-5.2 that were made before there was a key for it.
  constexpr std::int64_t kLongContext = 1 << 20;
  const bool shares = c.architecture == "glm-dsa" && c.context_length >= kLongContext;
  const std::string types = prefix + "types";
  settle({"blk.", "indexer.attn_q_b.weight", types}, find, options, by_key,
         owners_by_rule(std::ssize(c.layers), shares ? 4 : 1, 3), c, log);
}

void read_indexer_hf(const Json& config_json, const FindMatrix& find, const ConfigOptions& options, ModelConfig& c,
                     const Log& log) {
  const HfFields fields(config_json);
  const bool glm = c.architecture == "glm-dsa";
  c.indexer = {
      .n_heads = fields.integer_or("index_n_heads", glm ? 32 : 64),
      .head_dim = fields.integer_or("index_head_dim", 128),
      .top_k = fields.integer_or("index_topk", 2048),
      .pairing = fields.boolean_or("indexer_rope_interleave", glm) ? RopePairing::kInterleaved : RopePairing::kHalves};
  settle({"model.layers.", "self_attn.indexer.wq_b.weight", "indexer_types"}, find, options,
         owners_of_json(fields, std::ssize(c.layers)), {}, c, log);
}

}  // namespace dodeca::runtime
