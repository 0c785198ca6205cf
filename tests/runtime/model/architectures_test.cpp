#include "runtime/model/architectures.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "runtime/model/config.hpp"

namespace {

using namespace dodeca::runtime;

struct Known {
  const char *gguf, *model_type, *class_name, *missing;
};
constexpr Known kKnown[] = {
    {"deepseek4", "deepseek_v4", "DeepseekV4ForCausalLM", "compressed rows"},
    {"qwen3next", "qwen3_next", "Qwen3NextForCausalLM", "recurrent state"},
    {"qwen35moe", "qwen3_5_moe", "Qwen3_5MoeForConditionalGeneration", "recurrent state"},
    {"kimi-linear", "kimi_linear", "KimiLinearForCausalLM", "recurrent state"},
    {"kimi-k3", "kimi_k3", "KimiK3ForConditionalGeneration", "latent experts"},
    {"glm5next", "glm5_next", "Glm5NextForCausalLM", "recurrent state"},
    {"minimax-m3", "minimax_m3", "MiniMaxM3SparseForCausalLM", "block-sparse"},
};

TEST_CASE("relatives that do not run are refused by name, with what is missing") {
  const Log silent = [](Level, std::string_view) {};
  for (const Known& known : kKnown) {
    CAPTURE(known.gguf);
    Metadata metadata;
    metadata.set("general.architecture", std::string(known.gguf));
    CHECK_THROWS_WITH_AS(config_from_gguf(metadata, {}, {}, silent), doctest::Contains(known.missing), Error);
    CHECK_THROWS_WITH_AS(config_from_gguf(metadata, {}, {}, silent), doctest::Contains(known.gguf), Error);
    const Json by_type = {{"model_type", known.model_type}};
    CHECK_THROWS_WITH_AS(config_from_hf(by_type), doctest::Contains(known.missing), Error);
    const Json by_class = {{"model_type", "deepseek_v3"}, {"architectures", {known.class_name}}};
    CHECK_THROWS_WITH_AS(config_from_hf(by_class), doctest::Contains(known.missing), Error);
    const Json inside = {{"model_type", "kimi_k25"},
                         {"text_config", {{"model_type", known.model_type + std::string("_text")}}}};
    CHECK_THROWS_WITH_AS(config_from_hf(inside), doctest::Contains(known.missing), Error);
  }
}

TEST_CASE("models that run, and names that nobody knows, are not taken for relatives") {
  for (const char* name : {"deepseek2",
                           "deepseek_v2",
                           "deepseek_v3",
                           "DeepseekV3ForCausalLM",
                           "kimi_k2",
                           "kimi_k25",
                           "KimiK25ForConditionalGeneration",
                           "glm4_moe_lite",
                           "Glm4MoeLiteForCausalLM",
                           "deepseek32",
                           "DeepseekV32ForCausalLM",
                           "glm-dsa",
                           "glm_moe_dsa",
                           "GlmMoeDsaForCausalLM",
                           "llama",
                           "qwen3moe",
                           "gpt-oss",
                           "MiniMaxM2ForCausalLM",
                           "",
                           " ",
                           "deepseek4 glm",
                           "ForCausalLM",
                           "rwkv7"})
    CHECK_NOTHROW(refuse_relative(name, ""));
  Metadata metadata;
  metadata.set("general.architecture", std::string("rwkv7"));
  CHECK_THROWS_WITH_AS(config_from_gguf(metadata, {}, {}, [](Level, std::string_view) {}),
                       doctest::Contains("GLM-4.7-Flash"), Error);
}

}  // namespace
