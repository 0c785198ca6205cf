#include "bench/shapes.hpp"

#include <doctest/doctest.h>

#include <map>

#include "runtime/cli/options.hpp"

using namespace dodeca;
using namespace dodeca::bench;
using runtime::cli::Usage;

namespace {

struct Sizes {
  double parameters = 0, bytes = 0;
};

Sizes sizes_of(const runtime::ModelConfig& part, const runtime::ModelConfig& whole, const std::string& recipe) {
  Sizes sizes;
  for (const runtime::WeightInfo& w :
       runtime::random_weight_infos(part, types_of(parse_recipe("--recipe", recipe), whole, part))) {
    sizes.parameters += static_cast<double>(w.n_elements());
    sizes.bytes += static_cast<double>(w.row_bytes()) * static_cast<double>(w.n_out * w.n_slices);
  }
  return sizes;
}

std::map<std::string, quant::DType> types(const runtime::ModelConfig& part, const runtime::ModelConfig& whole,
                                          const std::string& recipe) {
  std::map<std::string, quant::DType> result;
  for (const runtime::WeightInfo& w :
       runtime::random_weight_infos(part, types_of(parse_recipe("--recipe", recipe), whole, part)))
    result[w.name] = w.dtype;
  return result;
}

}  // namespace

TEST_CASE("shapes have the published numbers of parameters") {
  const auto billions = [](const char* name) {
    const runtime::ModelConfig c = shape_config(name);
    return sizes_of(c, c, "F16").parameters / 1e9;
  };
  CHECK(billions("deepseek-v3") == doctest::Approx(671.026).epsilon(1e-5));
  CHECK(billions("deepseek-v2-lite") == doctest::Approx(15.706).epsilon(1e-4));
  CHECK(billions("kimi-k2") == doctest::Approx(1026.4).epsilon(1e-3));
  CHECK(billions("glm-4.7-flash") == doctest::Approx(29.943).epsilon(1e-4));
  CHECK(billions("qwen3-30b-a3b") == doctest::Approx(30.532).epsilon(1e-4));
  CHECK(billions("qwen3-235b") == doctest::Approx(235.09).epsilon(1e-4));
  CHECK(billions("glm-4.5-air") == doctest::Approx(106.85).epsilon(1e-3));
  CHECK(billions("minimax-m2") == doctest::Approx(228.69).epsilon(1e-3));
  CHECK(billions("llama-3.1-405b") == doctest::Approx(405.85).epsilon(1e-4));
  CHECK(billions("gpt-oss-20b") == doctest::Approx(20.91).epsilon(1e-3));
  CHECK(billions("gpt-oss-120b") == doctest::Approx(116.83).epsilon(1e-3));
  CHECK(billions("glm-5") == doctest::Approx(743.91).epsilon(1e-4));
  CHECK(billions("deepseek-v3.2") == doctest::Approx(671.878).epsilon(1e-4));
}

TEST_CASE("gpt-oss keeps its experts as they are published, and its windows in a slice") {
  const runtime::ModelConfig whole = shape_config("gpt-oss-20b"), part = slice_config(whole, 4);
  CHECK_THROWS_WITH(slice_config(whole, 3), doctest::Contains("a multiple of 2"));
  CHECK(part.layers[2].window == 128);
  CHECK(part.layers[3].window == 0);
  for (const char* recipe : {"ud-q2_k_xl", "Q8_0", "copy"}) {
    const auto found = types(part, whole, recipe);
    CHECK(found.at("blk.1.ffn_down_exps.weight") == quant::DType::kMXFP4);
    CHECK(found.at("blk.1.ffn_down_exps.bias") == quant::DType::kF32);
  }
  CHECK(types(part, whole, "F16").at("blk.0.ffn_gate_exps.weight") == quant::DType::kF16);
}

TEST_CASE("a slice shares choices as often as the whole model") {
  const runtime::ModelConfig whole = shape_config("glm-5.2");
  const auto n_choosing = [](const runtime::ModelConfig& c) {
    std::int64_t n = 0;
    for (std::int64_t layer = 0; layer < c.n_layers; ++layer) n += c.chooses(layer);
    return n;
  };
  CHECK(n_choosing(whole) == 21);
  CHECK(n_choosing(slice_config(whole, 4)) == 1);
  CHECK(n_choosing(slice_config(whole, 39)) == 11);
  CHECK(n_choosing(slice_config(shape_config("glm-5"), 4)) == 4);
  CHECK(shape_config("glm-5", 0, true).indexer.n_heads == 0);
}

TEST_CASE("the mixture has the size of the published UD-Q2_K_XL file") {
  const runtime::ModelConfig c = shape_config("deepseek-v3");
  CHECK(sizes_of(c, c, "ud-q2_k_xl").bytes == doctest::Approx(247.6e9).epsilon(1e-3));
}

TEST_CASE("a slice of a model with layers of one kind holds those") {
  const runtime::ModelConfig moe = slice_config(shape_config("qwen3-30b-a3b"), 4),
                             dense = slice_config(shape_config("llama-3.1-405b"), 1);
  CHECK(n_dense_layers(moe) == 0);
  CHECK(moe.n_layers == 4);
  CHECK(n_dense_layers(dense) == 1);
  CHECK(moe.layers[0].attention == runtime::AttentionKind::kGqa);
  CHECK_THROWS_AS(slice_config(shape_config("glm-4.5-air"), 1), Usage);
  CHECK_THROWS_AS(shape_config("llama-3.1-405b", 8), Usage);
  CHECK(types(dense, shape_config("llama-3.1-405b"), "Q4_K").size() == 12);
}

TEST_CASE("a slice holds one dense layer and as many MoE layers as there are") {
  const runtime::ModelConfig whole = shape_config("deepseek-v3");
  const auto counts = [&](std::int64_t n) {
    const runtime::ModelConfig c = slice_config(whole, n);
    return std::pair{n_dense_layers(c), c.n_layers};
  };
  CHECK(counts(0) == std::pair<std::int64_t, std::int64_t>{3, 61});
  CHECK(counts(2) == std::pair<std::int64_t, std::int64_t>{1, 2});
  CHECK(counts(60) == std::pair<std::int64_t, std::int64_t>{2, 60});
  CHECK(counts(61) == std::pair<std::int64_t, std::int64_t>{3, 61});
  CHECK_THROWS_AS(slice_config(whole, 1), Usage);
  CHECK_THROWS_AS(slice_config(whole, 62), Usage);
}

TEST_CASE("a slice's layers have the types of the layers they stand for") {
  const runtime::ModelConfig whole = shape_config("deepseek-v3"), part = slice_config(whole, 5);
  const auto of_whole = types(whole, whole, "Q4_K_M"), of_part = types(part, whole, "Q4_K_M");
  // four MoE layers: 3, 17, 32 and 46 of the whole model
  const std::pair<const char*, const char*> pairs[] = {{"blk.0.ffn_down.weight", "blk.0.ffn_down.weight"},
                                                       {"blk.1.ffn_down_exps.weight", "blk.3.ffn_down_exps.weight"},
                                                       {"blk.2.ffn_down_exps.weight", "blk.17.ffn_down_exps.weight"},
                                                       {"blk.4.ffn_down_exps.weight", "blk.46.ffn_down_exps.weight"}};
  for (const auto& [mine, theirs] : pairs) CHECK(of_part.at(mine) == of_whole.at(theirs));
  CHECK(of_part.at("blk.1.attn_k_b.weight") == quant::DType::kQ5_0);  // rows of 128 are no whole Q4_K blocks
  CHECK(of_part.at("blk.1.ffn_gate_inp.weight") == quant::DType::kF32);
}

TEST_CASE("impossible numbers of experts and unknown recipes are refused") {
  CHECK(shape_config("deepseek-v3", 64).n_routed_experts == 64);
  for (const std::int64_t n : {8, 15, 63, 257}) CHECK_THROWS_AS(shape_config("deepseek-v3", n), Usage);
  CHECK_THROWS_AS(shape_config("deepseek-v2-lite", 5), Usage);
  CHECK_THROWS_AS(parse_recipe("--recipe", "Q9_X"), Usage);
  CHECK_THROWS_AS(parse_recipe("--recipe", "I8"), Usage);
  CHECK(parse_recipe("--recipe", "iq2_xxs").uniform == quant::DType::kIQ2_XXS);
}

TEST_CASE("the most layers that fit are found without holding any") {
  const runtime::ModelConfig whole = shape_config("deepseek-v3");
  const runtime::quantize::TypeChoice recipe = parse_recipe("--recipe", "ud-q2_k_xl");
  CHECK(most_layers(whole, recipe, {}, 1'000'000'000) == 0);
  const std::int64_t n = most_layers(whole, recipe, {}, 20'000'000'000);
  CHECK(n >= 4);
  CHECK(n <= 6);  // 3.96 GB per MoE layer, 1.3 GB of embeddings and output
  CHECK(most_layers(whole, recipe, {}, 1'000'000'000'000) == 61);
}
