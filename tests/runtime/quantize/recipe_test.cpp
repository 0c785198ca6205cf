#include "runtime/quantize/recipe.hpp"

#include <doctest/doctest.h>

#include <string>

#include "runtime/base/error.hpp"

using namespace dodeca::runtime;
using namespace dodeca::runtime::quantize;
using dodeca::quant::DType;

namespace {

DType type_in(const char* recipe, std::string_view name, std::int64_t layer = 3, std::int64_t n_layers = 61) {
  TypeChoice choice;
  choice.recipe = find_recipe(recipe);
  REQUIRE(choice.recipe != nullptr);
  WeightId id = weight_of_name(name).value();
  if (id.layer != kNoLayer) id.layer = layer;
  return choose_type(choice, {name, id, n_layers, false}, role_info(id.role).vector ? 1 : 2);
}

}  // namespace

TEST_CASE("ud-q2_k_xl: the table of the published DeepSeek-V3-0324 file") {
  const struct {
    const char* name;
    DType dtype;
  } table[] = {
      {"blk.3.ffn_gate_exps.weight", DType::kQ2_K},  {"blk.3.ffn_up_exps.weight", DType::kQ2_K},
      {"blk.3.ffn_down_exps.weight", DType::kQ3_K},  {"blk.3.attn_q_a.weight", DType::kQ4_K},
      {"blk.3.attn_q_b.weight", DType::kQ4_K},       {"blk.3.attn_q.weight", DType::kQ4_K},
      {"blk.3.attn_output.weight", DType::kQ4_K},    {"blk.3.attn_kv_a_mqa.weight", DType::kQ6_K},
      {"blk.3.attn_k_b.weight", DType::kQ6_K},       {"blk.3.attn_v_b.weight", DType::kQ6_K},
      {"blk.3.ffn_gate_shexp.weight", DType::kQ4_K}, {"blk.3.ffn_up_shexp.weight", DType::kQ4_K},
      {"blk.3.ffn_down_shexp.weight", DType::kQ6_K}, {"blk.0.ffn_gate.weight", DType::kQ4_K},
      {"blk.0.ffn_up.weight", DType::kQ4_K},         {"blk.0.ffn_down.weight", DType::kQ6_K},
      {"token_embd.weight", DType::kQ4_K},           {"output.weight", DType::kQ6_K},
      {"output_norm.weight", DType::kF32},           {"blk.3.attn_q_a_norm.weight", DType::kF32},
      {"blk.3.ffn_gate_inp.weight", DType::kF32},    {"blk.3.exp_probs_b.bias", DType::kF32},
  };
  for (const auto& row : table) {
    CAPTURE(row.name);
    CHECK(type_in("ud-q2_k_xl", row.name) == row.dtype);
  }
  CHECK(find_recipe("UD-Q2_K_XL") == find_recipe("ud-q2_k_xl"));
  CHECK(find_recipe("ud-q2_k") == nullptr);
}

TEST_CASE("llama.cpp's mixtures: which layers get more bits") {
  // 61 layers: an eighth is 7; layers 0-6 and 53-60, and every third of the others from 9 on
  for (const std::int64_t layer : {0, 6, 9, 12, 51, 53, 60}) {
    CHECK(type_in("Q4_K_M", "blk.3.ffn_down_exps.weight", layer) == DType::kQ6_K);
    CHECK(type_in("Q5_K_M", "blk.3.ffn_down.weight", layer) == DType::kQ6_K);
  }
  for (const std::int64_t layer : {7, 8, 10, 11, 52}) {
    CHECK(type_in("Q4_K_M", "blk.3.ffn_down_exps.weight", layer) == DType::kQ4_K);
    CHECK(type_in("Q5_K_M", "blk.3.ffn_down.weight", layer) == DType::kQ5_K);
  }
  CHECK(type_in("Q4_K_S", "blk.3.ffn_down.weight", 6) == DType::kQ5_K);
  CHECK(type_in("Q4_K_S", "blk.3.ffn_down.weight", 7) == DType::kQ4_K);
  CHECK(type_in("Q3_K_M", "blk.3.ffn_down.weight", 2) == DType::kQ5_K);
  CHECK(type_in("Q3_K_M", "blk.3.ffn_down.weight", 3) == DType::kQ4_K);
  CHECK(type_in("Q3_K_L", "blk.3.attn_output.weight") == DType::kQ5_K);
  CHECK(type_in("Q3_K_S", "blk.3.attn_output.weight") == DType::kQ3_K);
  for (const char* recipe : {"Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M"}) {
    CHECK(type_in(recipe, "output.weight", -1) == DType::kQ6_K);
    CHECK(type_in(recipe, "blk.3.ffn_gate_inp.weight") == DType::kF32);
  }
}

TEST_CASE("fall-backs: the first type whose block divides the row") {
  CHECK(fitting_type(DType::kQ2_K, 7168) == DType::kQ2_K);
  CHECK(fitting_type(DType::kQ2_K, 1408) == DType::kQ4_0);
  CHECK(fitting_type(DType::kQ3_K, 1408) == DType::kQ4_0);
  CHECK(fitting_type(DType::kQ4_K, 128) == DType::kQ5_0);
  CHECK(fitting_type(DType::kQ5_K, 32) == DType::kQ5_1);
  CHECK(fitting_type(DType::kQ6_K, 128) == DType::kQ8_0);
  CHECK(fitting_type(DType::kQ6_K, 40) == DType::kF16);
  CHECK(fitting_type(DType::kIQ4_NL, 33) == DType::kF16);
  CHECK(fitting_type(DType::kIQ4_KS, 512) == DType::kIQ4_KS);
  CHECK(fitting_type(DType::kIQ4_KS, 1408) == DType::kIQ4_NL);
  CHECK(fitting_type(DType::kF32, 7) == DType::kF32);
}

TEST_CASE("overrides come first, then the types of embeddings and output, then the recipe") {
  TypeChoice choice;
  choice.uniform = DType::kQ4_K;
  choice.output = DType::kQ6_K;
  choice.token_embedding = DType::kQ8_0;
  choice.overrides.push_back(parse_override("ffn_(gate|up)_exps=q2_k"));
  choice.overrides.push_back(parse_override("blk\\.[0-9]\\.ffn=Q3_K"));
  const auto type = [&](std::string_view name, std::int64_t rank = 2) {
    return choose_type(choice, {name, weight_of_name(name).value(), 4, false}, rank);
  };
  CHECK(type("blk.1.ffn_gate_exps.weight", 3) == DType::kQ2_K);
  CHECK(type("blk.1.ffn_down_exps.weight", 3) == DType::kQ3_K);
  CHECK(type("blk.11.ffn_down_exps.weight", 3) == DType::kQ4_K);
  CHECK(type("output.weight") == DType::kQ6_K);
  CHECK(type("token_embd.weight") == DType::kQ8_0);
  CHECK(type("blk.1.ffn_gate_inp.weight") == DType::kF32);  // the router, whatever the pattern finds
  CHECK(type("blk.1.ffn_norm.weight", 1) == DType::kF32);
  // a matrix that is embedding and output at once counts as the embedding, as its name says
  CHECK(choose_type(choice, {"token_embd.weight", {WeightRole::kEmbedding}, 4, true}, 2) == DType::kQ8_0);
  choice.token_embedding.reset();
  CHECK(choose_type(choice, {"token_embd.weight", {WeightRole::kEmbedding}, 4, true}, 2) == DType::kQ6_K);
}

TEST_CASE("malformed overrides say what is wrong") {
  const auto message = [](std::string_view text) {
    try {
      parse_override(text);
      return std::string("accepted");
    } catch (const Error& error) {
      return error.sentence();
    }
  };
  CHECK(message("ffn_down") != "accepted");
  CHECK(message("=Q4_K") != "accepted");
  CHECK(message("a=Q9_K").find("Q9_K") != std::string::npos);
  CHECK(message("a=Q8_K").find("Q8_K") != std::string::npos);
  CHECK(message("a=TQ1_0").find("TQ1_0") != std::string::npos);
  CHECK(message("a(=Q4_K").find("a(") != std::string::npos);
  CHECK(message("a==Q4_K") == "accepted");  // the pattern is "a="
}

TEST_CASE("every writable type has a file type, and activation formats are not writable") {
  for (const DType dtype : writable_types()) CHECK(file_type_of(dtype) < 1024);
  CHECK(file_type_of(DType::kQ2_K) == 10);
  CHECK(file_type_of(DType::kIQ4_KS) == 145);
  CHECK(file_type_of(DType::kQ8_K) == 1024);  // no file has it throughout
  CHECK(file_type_text(10) == "Q2_K - Medium");
  CHECK(file_type_text(15) == "Q4_K - Medium");
  CHECK(file_type_text(1024 | 145) == "(guessed) IQ4_KS - 4.25 bpw");
  CHECK(file_type_text(5) == "unknown, may not work");
  CHECK_FALSE(is_writable(DType::kQ8_K));
  CHECK_FALSE(is_writable(DType::kF8_E4M3_B128));
  CHECK_FALSE(is_writable(DType::kTQ1_0));
}
