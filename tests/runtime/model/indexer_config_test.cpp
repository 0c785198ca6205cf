// What files say of indexers, and files that say little of them.
#include "runtime/model/indexer_config.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "runtime/model/shapes.hpp"
#include "runtime/model/wanted.hpp"

namespace {

using namespace dodeca::runtime;

struct Said {
  std::string lines;
  Log log = [this](Level, std::string_view line) { lines += std::string(line) + "\n"; };
};

ModelConfig config_of(std::string architecture, std::int64_t n_layers, std::int64_t context = 4096) {
  ModelConfig c = published_shape("glm-5");
  set_layers(c, 1, n_layers - 1);
  c.architecture = std::move(architecture);
  c.context_length = context;
  c.indexer = {};
  return c;
}

Metadata keys_of(const std::string& architecture) {
  Metadata m;
  m.set(architecture + ".attention.indexer.head_count", std::uint32_t{32});
  m.set(architecture + ".attention.indexer.key_length", std::uint32_t{128});
  m.set(architecture + ".attention.indexer.top_k", std::uint32_t{2048});
  return m;
}

// A file in which some layers have an indexer.
FindMatrix with_layers(std::string before, std::string behind, std::set<std::int64_t> layers) {
  return [=](std::string_view name) -> std::optional<MatrixSize> {
    for (const std::int64_t layer : layers)
      if (name == before + std::to_string(layer) + behind) return MatrixSize{1, 1};
    return std::nullopt;
  };
}
FindMatrix gguf_layers(std::set<std::int64_t> layers) {
  return with_layers("blk.", ".indexer.attn_q_b.weight", std::move(layers));
}

std::string owners_of(const ModelConfig& c) {
  std::string letters;
  for (std::int64_t layer = 0; layer < c.n_layers; ++layer) letters += c.chooses(layer) ? 'F' : 'S';
  return letters;
}

std::string owners(ModelConfig c, const Metadata& metadata, const FindMatrix& find, const ConfigOptions& options = {}) {
  Said said;
  read_indexer_gguf(metadata, find, options, c, said.log);
  return c.indexer.n_heads == 0 ? "dense" : owners_of(c);
}

std::string owners(ModelConfig c, const Json& json, const FindMatrix& find = {}) {
  Said said;
  read_indexer_hf(json, find, {}, c, said.log);
  return c.indexer.n_heads == 0 ? "dense" : owners_of(c);
}

}  // namespace

TEST_CASE("the pairing of an indexer's rotation is the architecture's, or config.json's") {
  Said said;
  ModelConfig glm = config_of("glm-dsa", 2), v32 = config_of("deepseek32", 2);
  read_indexer_gguf(keys_of("glm-dsa"), gguf_layers({0, 1}), {}, glm, said.log);
  read_indexer_gguf(keys_of("deepseek32"), gguf_layers({0, 1}), {}, v32, said.log);
  CHECK(glm.indexer == IndexerConfig{32, 128, 2048, RopePairing::kInterleaved});
  CHECK(v32.indexer == IndexerConfig{32, 128, 2048, RopePairing::kHalves});
  read_indexer_hf(Json::object(), {}, {}, glm, said.log);
  read_indexer_hf(Json::object(), {}, {}, v32, said.log);
  CHECK(glm.indexer == IndexerConfig{32, 128, 2048, RopePairing::kInterleaved});
  CHECK(v32.indexer == IndexerConfig{64, 128, 2048, RopePairing::kHalves});
  read_indexer_hf({{"indexer_rope_interleave", false}, {"index_topk", 5}}, {}, {}, glm, said.log);
  CHECK(glm.indexer.pairing == RopePairing::kHalves);
  CHECK(glm.indexer.top_k == 5);
}

TEST_CASE("GGUF: which layers choose, by the key, by the rule and by what is there") {
  const Metadata keys = keys_of("glm-dsa");
  const FindMatrix all = gguf_layers({0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(owners(config_of("glm-dsa", 8), keys, all) == "FFFFFFFF");
  CHECK(owners(config_of("glm-dsa", 8, 1 << 20), keys, all) == "FFFSSSFS");  // spare indexers are not used
  CHECK(owners(config_of("glm-dsa", 8, 1 << 20), keys, gguf_layers({0, 1, 2, 6})) == "FFFSSSFS");
  CHECK(owners(config_of("glm-dsa", 8), keys, gguf_layers({0, 1, 2, 6})) == "FFFSSSFS");  // its tensors show it
  CHECK(owners(config_of("deepseek32", 8, 1 << 20), keys_of("deepseek32"), all) == "FFFFFFFF");
  Metadata listed = keys;
  listed.set("glm-dsa.attention.indexer.types", MetaArray<bool>{{true, false, true, false}});
  CHECK(owners(config_of("glm-dsa", 4), listed, all) == "FSFS");
  listed.set("glm-dsa.attention.indexer.types", MetaArray<std::int32_t>{{1, 0, 0, 1}});
  CHECK(owners(config_of("glm-dsa", 4), listed, all) == "FSSF");
}

TEST_CASE("GGUF: without tensors, or without keys, or when asked for, attention is dense") {
  const Metadata keys = keys_of("glm-dsa");
  CHECK(owners(config_of("glm-dsa", 4), keys, gguf_layers({})) == "dense");
  CHECK(owners(config_of("glm-dsa", 4), Metadata(), gguf_layers({})) == "dense");
  CHECK(owners(config_of("glm-dsa", 4), keys, gguf_layers({0, 1, 2, 3}), {.dense_attention = true}) == "dense");
  CHECK(owners(config_of("deepseek2", 4), Metadata(), gguf_layers({})) == "dense");
  CHECK(owners(config_of("deepseek2", 4), keys_of("deepseek2"), gguf_layers({})) == "dense");
}

TEST_CASE("GGUF: DeepSeek-V3.2 has an indexer in every layer or in none") {
  CHECK_THROWS_WITH_AS(owners(config_of("deepseek32", 4), keys_of("deepseek32"), gguf_layers({0, 2, 3})),
                       doctest::Contains("layer 1 has no blk.1.indexer.attn_q_b.weight"), Error);
  CHECK(owners(config_of("deepseek32", 4), keys_of("deepseek32"), gguf_layers({})) == "dense");
}

TEST_CASE("GGUF: what contradicts itself is refused") {
  Metadata keys = keys_of("glm-dsa");
  const auto refused = [&](const FindMatrix& find, const char* word) {
    CHECK_THROWS_WITH_AS(owners(config_of("glm-dsa", 4), keys, find), doctest::Contains(word), Error);
  };
  refused(gguf_layers({1, 2, 3}), "layer 0 has no indexer");
  keys.set("glm-dsa.attention.indexer.types", MetaArray<bool>{{true, true, false}});
  refused(gguf_layers({0, 1, 2, 3}), "names 3 layers of 4");
  keys.set("glm-dsa.attention.indexer.types", MetaArray<bool>{{true, true, false, true}});
  refused(gguf_layers({0, 1}), "says that layer 3");
  keys.set("glm-dsa.attention.indexer.types", std::string("all"));
  refused(gguf_layers({0, 1}), "attention.indexer.types");
  keys.erase("glm-dsa.attention.indexer.top_k");
  refused(gguf_layers({0, 1}), "attention.indexer.top_k");
  CHECK_THROWS_WITH_AS(owners(config_of("deepseek2", 4), Metadata(), gguf_layers({0, 1, 2, 3})),
                       doctest::Contains("deepseek32"), Error);
}

TEST_CASE("config.json: which layers choose, by a list, a pattern or a frequency") {
  const ModelConfig c = config_of("glm-dsa", 8, 1 << 20);
  CHECK(owners(c, Json::object()) == "FFFFFFFF");
  CHECK(owners(c, {{"index_topk_freq", 4}, {"index_skip_topk_offset", 3}}) == "FFFSSSFS");
  CHECK(owners(c, {{"index_topk_freq", 2}}) == "FFSFSFSF");
  CHECK(owners(c, {{"index_topk_pattern", "FSSFSSFS"}}) == "FSSFSSFS");
  CHECK(owners(c, Json::parse(R"({"indexer_types": ["full","shared","full","full","full","full","full","shared"]})")) ==
        "FSFFFFFS");
  const FindMatrix none = with_layers("model.layers.", ".self_attn.indexer.wq_b.weight", {});
  CHECK(owners(c, Json::object(), none) == "dense");
  for (const char* wrong : {R"({"indexer_types": ["full"]})", R"({"indexer_types": ["some"]})",
                            R"({"index_topk_freq": 4, "index_skip_topk_offset": -9223372036854775808})",
                            R"({"index_topk_pattern": "FX"})", R"({"index_topk_pattern": "SFFFFFFF"})"})
    CHECK_THROWS_AS(owners(c, Json::parse(wrong)), Error);
}

TEST_CASE("numbers of layers that nobody has checked do no harm") {
  Said said;
  for (const std::int64_t n : {std::int64_t{1} << 62, std::int64_t{-1}}) {
    ModelConfig c = config_of("glm-dsa", 4);
    c.n_layers = n;
    if (n < 0) c.layers.clear();
    read_indexer_hf({{"index_topk_freq", 4}}, {}, {}, c, said.log);
    CHECK_THROWS_AS(validate(c), Error);
  }
}

TEST_CASE("an indexer's sizes are checked, and its weights are wanted where a layer chooses") {
  ModelConfig c = published_shape("deepseek-v3.2");
  c.layers[1].has_indexer = false;
  validate(c);
  std::int64_t n = 0;
  for (const WantedWeight& w : wanted_weights(c, false)) n += w.name.find(".indexer.") != std::string::npos;
  CHECK(n == 5 * 60);
  for (const WantedWeight& w : wanted_weights(c, true)) CHECK(w.name.find(".indexer.") == std::string::npos);
  const auto refused = [&](auto&& change) {
    ModelConfig wrong = c;
    change(wrong);
    CHECK_THROWS_AS(validate(wrong), Error);
  };
  refused([](ModelConfig& m) { m.indexer.head_dim = 62; });  // less than is rotated
  refused([](ModelConfig& m) { m.indexer.head_dim = 129; });
  refused([](ModelConfig& m) { m.indexer.head_dim = 130; });
  refused([](ModelConfig& m) { m.indexer.top_k = 0; });
  refused([](ModelConfig& m) { m.indexer.n_heads = -1; });
  refused([](ModelConfig& m) { m.q_lora_rank = 0; });
  refused([](ModelConfig& m) { m.layers[0].has_indexer = false; });
}
