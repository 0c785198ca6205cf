// What keys and tensors of a file say of each other: nothing is left over or taken for granted in silence.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "runtime/model/gguf_names.hpp"
#include "runtime/model/weight_source.hpp"
#include "tests/support/model_file.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

using namespace dodeca::runtime;
using namespace dodeca::tests;

struct Opened {
  std::unique_ptr<WeightSource> source;
  std::string said;
  bool says(const char* text) const { return said.find(text) != std::string::npos; }
  const ModelConfig& config() const { return source->config(); }
};

Opened open_file(const ModelFile& file) {
  const TempDir dir;
  file.write(dir / "m.gguf");
  Opened opened;
  opened.source =
      open_weights(dir / "m.gguf", {}, [&](Level, std::string_view line) { opened.said += std::string(line) + "\n"; });
  return opened;
}

template <class Change>
Opened open_changed(Change&& change) {
  ModelFile file;
  change(file);
  return open_file(file);
}

template <class Change>
void refused(Change&& change, std::initializer_list<const char*> words) {
  ModelFile file;
  change(file);
  try {
    open_file(file);
    FAIL_CHECK("opened without a word");
  } catch (const Error& error) {
    for (const char* word : words)
      CHECK_MESSAGE(std::string(error.what()).find(word) != std::string::npos, error.what());
  }
}

}  // namespace

TEST_CASE("a file that is as it should be needs no words") {
  const Opened opened = open_file(ModelFile());
  CHECK(opened.said == "");
  CHECK(opened.source->unused().empty());
}

TEST_CASE("other converters' names of the selection bias mean the same") {
  for (const char* other : {"exp_probs_b", "exp_probs_b.weight", "ffn_gate_inp.e_score_correction_bias",
                            "mlp.gate.e_score_correction_bias"}) {
    const Opened opened = open_changed([&](ModelFile& f) {
      for (const char* layer : {"blk.1.", "blk.2."})
        f.rename(std::string(layer) + "exp_probs_b.bias", std::string(layer) + other);
    });
    CHECK(opened.source->find("blk.1.exp_probs_b.bias") != nullptr);
    CHECK(opened.source->find("blk.2.exp_probs_b.bias") != nullptr);
    CHECK(opened.says("exp_probs_b.bias"));
  }
  CHECK(open_changed([](ModelFile& f) {
          f.rename("blk.2.exp_probs_b.bias", "blk.2.exp_probs_b");
        }).source->find("blk.2.exp_probs_b.bias") != nullptr);
  refused([](ModelFile& f) { f.add("blk.2.exp_probs_b", {8}); }, {"blk.2.exp_probs_b ", "blk.2.exp_probs_b.bias"});
  CHECK(usual_name("blk.7.ffn_gate_inp.weight") == "blk.7.ffn_gate_inp.weight");
  CHECK(usual_name("exp_probs_b") == "exp_probs_b");
}

TEST_CASE("tensors that are left over are refused by name, or said where they change nothing") {
  refused([](ModelFile& f) { f.add("blk.0.ffn_gate_inp.bias", {8}); }, {"1 (blk.0.ffn_gate_inp.bias)"});
  refused([](ModelFile& f) { f.add("blk.9.attn_norm.weight", {128}); }, {"blk.9.attn_norm.weight"});
  refused([](ModelFile& f) { f.add("blk.3.attn_norm.weight", {128}); }, {"blk.3.attn_norm.weight"});
  refused(
      [](ModelFile& f) {
        for (int i = 0; i < 6; ++i) f.add("x" + std::to_string(i), {4});
      },
      {"6 (x0, x1, x2, x3, ...)"});
  refused([](ModelFile& f) { f.drop("blk.2.exp_probs_b.bias"); }, {"blk.1.exp_probs_b.bias", "no blk.2.exp_probs_b"});
  refused([](ModelFile& f) { f.rename("blk.1.ffn_norm.weight", "blk.1.ffn_nrom.weight"); }, {"blk.1.ffn_norm.weight"});
  const Opened opened = open_changed([](ModelFile& f) {
    f.add("rope_freqs.weight", {8});
    f.add("blk.1.attn_kv_b.weight", {64, 256});
    f.add("blk.3.nextn.eh_proj.weight", {256, 128});
    f.add("blk.3.attn_norm.weight", {128});
  });
  CHECK(opened.source->unused().size() == 4);
  for (const char* name : {"rope_freqs.weight", "blk.1.attn_kv_b.weight", "blk.3.attn_norm.weight"})
    CHECK(opened.says(name));
}

TEST_CASE("keys of the router that are missing follow from the tensors") {
  Opened opened = open_changed([](ModelFile& f) { f.keys.erase("deepseek2.expert_gating_func"); });
  CHECK(opened.config().gating == GatingKind::kSigmoid);
  CHECK(opened.says("expert_gating_func"));
  opened = open_changed([](ModelFile& f) { f.keys.set("deepseek2.expert_gating_func", std::uint32_t{1}); });
  CHECK(opened.config().gating == GatingKind::kSoftmax);
  CHECK(opened.says("softmax although"));
  opened = open_changed([](ModelFile& f) {
    f.drop("blk.1.exp_probs_b.bias");
    f.drop("blk.2.exp_probs_b.bias");
  });
  CHECK(opened.says("no layer has a selection bias"));
  opened = open_changed([](ModelFile& f) {
    for (const char* key : {"expert_count", "expert_shared_count", "leading_dense_block_count", "expert_group_count",
                            "expert_weights_norm", "expert_weights_scale"})
      f.keys.erase(std::string("deepseek2.") + key);
  });
  CHECK(opened.config().n_routed_experts == 8);
  CHECK(opened.config().n_shared_experts == 2);
  CHECK(opened.config().layers[0].ffn == FfnKind::kDense);
  CHECK(opened.config().layers[1].ffn == FfnKind::kMoe);
  for (const char* word : {"8 experts", "expert_shared_count is missing: 2", "1 layers are dense", "no groups",
                           "expert_weights_norm", "expert_weights_scale"})
    CHECK_MESSAGE(opened.says(word), word);
}

TEST_CASE("keys that contradict the tensors are refused with both facts") {
  const auto set = [](const char* key, std::uint32_t value) {
    return [=](ModelFile& f) { f.keys.set(std::string("deepseek2.") + key, value); };
  };
  refused(set("expert_count", 4), {"expert_count is 4", "among 8"});
  refused(set("expert_count", 0), {"expert_count is 0", "among 8"});
  refused(set("expert_shared_count", 0), {"expert_shared_count is 0", "width of 128"});
  refused(set("expert_shared_count", 1), {"expert_shared_count is 1", "width of 128"});
  refused(set("leading_dense_block_count", 0), {"layer 0 has experts", "blk.0.ffn_gate.weight"});
  refused(set("leading_dense_block_count", 2), {"layer 1 is dense", "blk.1.ffn_gate_inp.weight"});
  refused(set("expert_feed_forward_length", 48), {"width of 128"});
  refused(set("nextn_predict_layers", 1), {"block_count is 3", "blk.2 is not one"});
  refused(set("embedding_length", 64), {"token_embd.weight has shape [128, 64]"});
  refused(set("attention.head_count", 8), {"attn_q_b"});
  refused(set("attention.sliding_window", 128), {"attention.sliding_window"});
  refused([](ModelFile& f) { f.keys.set("deepseek2.logit_scale", 0.5f); }, {"logit_scale"});
  refused(
      [](ModelFile& f) {
        f.keys.set("tokenizer.ggml.tokens", MetaArray<std::string>{std::vector<std::string>(65, "x")});
      },
      {"65 tokens", "64 rows"});
  refused([](ModelFile& f) { f.keys.erase("deepseek2.attention.layer_norm_rms_epsilon"); }, {"layer_norm_rms_epsilon"});
}

TEST_CASE("sizes that the tensors show") {
  Opened opened = open_changed([](ModelFile& f) {
    f.keys.erase("deepseek2.attention.key_length_mla");
    f.keys.erase("deepseek2.attention.value_length_mla");
  });
  CHECK(opened.config().qk_nope_head_dim == 32);
  CHECK(opened.config().v_head_dim == 32);
  CHECK(opened.says("key_length_mla"));
  opened = open_changed([](ModelFile& f) { f.keys.set("deepseek2.attention.q_lora_rank", std::uint32_t{48}); });
  CHECK(opened.config().q_lora_rank == 64);
  CHECK(opened.says("q_lora_rank 48"));
  opened = open_changed([](ModelFile& f) { f.keys.set("deepseek2.vocab_size", std::uint32_t{60}); });
  CHECK(opened.config().vocab_size == 64);
  CHECK(opened.says("vocab_size is 60"));
  opened = open_changed([](ModelFile& f) { f.drop("output.weight"); });
  CHECK(opened.config().tied_embeddings);
  CHECK(opened.says("no output.weight"));
  opened = open_changed([](ModelFile& f) {  // a layer that shows what it is
    f.add("blk.3.nextn.eh_proj.weight", {256, 128});
    f.keys.set("deepseek2.block_count", std::uint32_t{4});
  });
  CHECK(opened.config().n_layers == 3);
  CHECK(opened.config().n_mtp_layers == 1);
  CHECK(opened.says("nextn_predict_layers"));
}

TEST_CASE("keys of rotations are not half there") {
  const auto scaling = [](std::initializer_list<const char*> without) {
    return [=](ModelFile& f) {
      f.keys.set("deepseek2.rope.scaling.type", std::string("yarn"));
      f.keys.set("deepseek2.rope.scaling.factor", 40.0f);
      f.keys.set("deepseek2.rope.scaling.original_context_length", std::uint32_t{64});
      f.keys.set("deepseek2.rope.scaling.yarn_log_multiplier", 0.1f);
      for (const char* key : without) f.keys.erase(std::string("deepseek2.rope.") + key);
    };
  };
  CHECK(open_changed(scaling({})).said == "");
  const Opened opened = open_changed(scaling({"scaling.type", "freq_base"}));
  CHECK(opened.config().rope.yarn);
  CHECK(opened.says("rope.scaling.type: yarn"));
  CHECK(opened.says("rope.freq_base: 10000"));
  refused(scaling({"scaling.type", "scaling.yarn_log_multiplier"}), {"rope.scaling.type", "40"});
  refused(scaling({"scaling.factor"}), {"rope.scaling.factor"});
  refused(scaling({"scaling.original_context_length"}), {"original_context_length"});
  CHECK(open_changed(scaling({"scaling.yarn_log_multiplier"})).says("yarn_log_multiplier"));
}

TEST_CASE("a checkpoint's tensors are asked as well") {
  const Json json =
      Json::parse(R"({"model_type":"deepseek_v3","vocab_size":64,"hidden_size":128,"intermediate_size":256,
    "moe_intermediate_size":64,"num_hidden_layers":3,"num_attention_heads":4,"n_shared_experts":2,"n_routed_experts":8,
    "routed_scaling_factor":2.5,"kv_lora_rank":64,"q_lora_rank":64,"qk_rope_head_dim":16,"v_head_dim":32,
    "qk_nope_head_dim":32,"n_group":1,"topk_group":1,"num_experts_per_tok":2,"first_k_dense_replace":1,
    "scoring_func":"sigmoid","rope_theta":10000,"tie_word_embeddings":false})");
  std::map<std::string, MatrixSize, std::less<>> tensors = {
      {"model.layers.0.self_attn.q_a_proj.weight", {128, 64}},
      {"model.layers.0.mlp.gate_proj.weight", {128, 256}},
      {"model.layers.1.mlp.gate.weight", {128, 8}},
      {"model.layers.1.mlp.gate.e_score_correction_bias", {8, 1}},
      {"model.layers.1.mlp.shared_experts.gate_proj.weight", {128, 128}},
      {"model.layers.2.mlp.gate.weight", {128, 8}},
      {"lm_head.weight", {128, 64}}};
  std::string said;
  const auto config = [&](const Json& changed) {
    said.clear();
    return config_from_hf(
        changed,
        [&](std::string_view name) {
          const auto at = tensors.find(name);
          return at == tensors.end() ? std::nullopt : std::optional(at->second);
        },
        [&](Level, std::string_view line) { said += std::string(line) + "\n"; });
  };
  const auto without = [&](const char* key) {
    Json changed = json;
    changed.erase(key);
    return changed;
  };
  const auto with = [&](const char* key, Json value) {
    Json changed = json;
    changed[key] = std::move(value);
    return changed;
  };
  config(json);
  CHECK(said == "");
  CHECK(config(without("n_shared_experts")).n_shared_experts == 2);
  CHECK(config(without("q_lora_rank")).q_lora_rank == 64);
  CHECK(config(without("n_routed_experts")).n_routed_experts == 8);
  CHECK(config(without("first_k_dense_replace")).layers[0].ffn == FfnKind::kDense);
  CHECK(said.find("first_k_dense_replace") != std::string::npos);
  Json v2 = without("scoring_func");
  v2["model_type"] = "deepseek_v2";
  CHECK(config(v2).gating == GatingKind::kSigmoid);
  CHECK(said.find("scoring_func") != std::string::npos);
  CHECK_THROWS_WITH_AS(config(with("n_routed_experts", 16)), doctest::Contains("among 8"), Error);
  CHECK_THROWS_WITH_AS(config(with("n_shared_experts", 1)), doctest::Contains("width of 128"), Error);
  CHECK_THROWS_WITH_AS(config(with("first_k_dense_replace", 0)), doctest::Contains("layer 0 has experts"), Error);
  CHECK_THROWS_WITH_AS(config(with("rope_scaling", {{"factor", 40}})), doctest::Contains("no type"), Error);
  CHECK_THROWS_WITH_AS(config(with("rope_scaling", {{"type", "yarn"}})), doctest::Contains("factor"), Error);
  tensors.erase("lm_head.weight");
  CHECK_FALSE(config(json).tied_embeddings);
  CHECK(config(without("tie_word_embeddings")).tied_embeddings);
}
