#include <doctest/doctest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "quant/dtype.hpp"
#include "runtime/cli/inspect_report.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using namespace dodeca::runtime::cli;
using namespace dodeca::tests;
using dodeca::quant::DType;

namespace {

// The tensor list of the first UD-Q2_K_XL file of DeepSeek-V3-0324: old layout, 1025 tensors. Names, types and dims
// only.
std::vector<InspectTensor> v3_tensors() {
  std::vector<InspectTensor> out;
  const auto add = [&](std::string name, DType dtype, const std::vector<std::int64_t>& dims) {
    std::int64_t n = 1;
    for (const std::int64_t dim : dims) n *= dim;
    out.push_back({std::move(name), std::string(dodeca::quant::name_of(dtype)), dims, static_cast<std::uint64_t>(n),
                   *dodeca::quant::row_bytes(dtype, n), 0, 0, false});
  };
  const DType f32 = DType::kF32, q2 = DType::kQ2_K, q3 = DType::kQ3_K, q4 = DType::kQ4_K, q6 = DType::kQ6_K;
  add("token_embd.weight", q4, {7168, 129280});
  add("output_norm.weight", f32, {7168});
  add("output.weight", q6, {7168, 129280});
  for (int layer = 0; layer < 61; ++layer) {
    const std::string b = "blk." + std::to_string(layer) + ".";
    add(b + "attn_norm.weight", f32, {7168});
    add(b + "attn_q_a.weight", q4, {7168, 1536});
    add(b + "attn_q_a_norm.weight", f32, {1536});
    add(b + "attn_q_b.weight", q4, {1536, 24576});
    add(b + "attn_kv_a_mqa.weight", q6, {7168, 576});
    add(b + "attn_kv_a_norm.weight", f32, {512});
    add(b + "attn_kv_b.weight", q6, {512, 32768});
    add(b + "attn_output.weight", q4, {16384, 7168});
    add(b + "ffn_norm.weight", f32, {7168});
    if (layer < 3) {
      add(b + "ffn_gate.weight", q4, {7168, 18432});
      add(b + "ffn_up.weight", q4, {7168, 18432});
      add(b + "ffn_down.weight", q6, {18432, 7168});
      continue;
    }
    add(b + "ffn_gate_inp.weight", f32, {7168, 256});
    add(b + "exp_probs_b.bias", f32, {256});
    add(b + "ffn_gate_exps.weight", q2, {7168, 2048, 256});
    add(b + "ffn_up_exps.weight", q2, {7168, 2048, 256});
    add(b + "ffn_down_exps.weight", q3, {2048, 7168, 256});
    add(b + "ffn_gate_shexp.weight", q4, {7168, 2048});
    add(b + "ffn_up_shexp.weight", q4, {7168, 2048});
    add(b + "ffn_down_shexp.weight", q6, {2048, 7168});
  }
  return out;
}

InspectShape v3_shape() {
  InspectShape shape;
  shape.n_layers = 61;
  shape.n_experts = 256;
  shape.n_experts_used = 8;
  shape.cache_width = 61 * 576;
  return shape;
}

std::uint64_t read_of(const InspectReport& report, WeightGroup group) {
  return (*report.read_by_group)[static_cast<std::size_t>(group)];
}

}  // namespace

TEST_CASE("DeepSeek-V3-0324 at 2.71 bits: size, bits per weight and bytes per token as published") {
  const auto tensors = v3_tensors();
  REQUIRE(tensors.size() == 1025);
  const InspectReport report = make_report(tensors, v3_shape());
  CHECK(static_cast<double>(report.total.bytes) / (1 << 30) == doctest::Approx(230.585).epsilon(1e-4));
  CHECK(report.total.bits_per_weight() == doctest::Approx(2.952).epsilon(2e-4));
  REQUIRE(report.read_by_group.has_value());
  CHECK(read_of(report, WeightGroup::kRoutedExperts) == 127533056ull * 58);
  CHECK(read_of(report, WeightGroup::kAttention) == 110636544ull * 61);
  CHECK(read_of(report, WeightGroup::kSharedExperts) == 28557312ull * 58);
  CHECK(read_of(report, WeightGroup::kDenseFfn) == 257015808ull * 3);
  CHECK(read_of(report, WeightGroup::kOutput) == 760166400ull);
  CHECK(read_of(report, WeightGroup::kRouter) == (7340032ull + 1024) * 58);
  CHECK(read_of(report, WeightGroup::kEmbedding) == 7168 / 256 * 144);
  CHECK(static_cast<double>(*report.read_total) / 1e9 == doctest::Approx(17.76).epsilon(5e-4));
  CHECK(report.cache_bytes_per_position == 70272);
  std::map<std::string, std::uint64_t> types;
  for (const auto& [type, sum] : report.by_type) types[type] = sum.tensors;
  CHECK(types["F32"] == 361);
  CHECK(report.by_type[0].first == "Q2_K");
}

TEST_CASE("tied embeddings, MTP layers, absorbed attention and unknown counts of experts") {
  const auto tensor = [](std::string name, std::vector<std::int64_t> dims, std::uint64_t bytes) {
    return InspectTensor{std::move(name), "F32", std::move(dims), bytes / 4, bytes, 0, 0, false};
  };
  InspectShape shape;
  shape.n_layers = 2;
  const std::vector<InspectTensor> tied{tensor("token_embd.weight", {4, 10}, 160)};
  CHECK(*make_report(tied, shape).read_total == 160);
  const std::vector<InspectTensor> untied{tensor("token_embd.weight", {4, 10}, 160),
                                          tensor("output.weight", {4, 10}, 160)};
  CHECK(*make_report(untied, shape).read_total == 176);
  const std::vector<InspectTensor> mtp{tensor("blk.1.attn_q.weight", {4, 4}, 64),
                                       tensor("blk.2.attn_q.weight", {4, 4}, 64),
                                       tensor("blk.2.nextn.eh_proj.weight", {8, 4}, 128)};
  const InspectReport with_mtp = make_report(mtp, shape);
  CHECK(*with_mtp.read_total == 64);
  CHECK(with_mtp.by_group[static_cast<std::size_t>(WeightGroup::kMtp)].tensors == 2);
  const std::vector<InspectTensor> both{tensor("blk.0.attn_kv_b.weight", {4, 4}, 64),
                                        tensor("blk.0.attn_k_b.weight", {4, 4}, 64)};
  CHECK(*make_report(both, shape).read_total == 64);
  const std::vector<InspectTensor> experts{tensor("blk.0.ffn_up_exps.weight", {4, 4, 8}, 512)};
  CHECK_FALSE(make_report(experts, shape).read_total.has_value());
  shape.n_experts = 8;
  shape.n_experts_used = 2;
  CHECK(*make_report(experts, shape).read_total == 128);
  shape.is_model = false;
  CHECK_FALSE(make_report(experts, shape).read_total.has_value());
  CHECK_FALSE(make_report({}, InspectShape{}).read_total.has_value());
}

TEST_CASE("roles of Hugging Face names") {
  InspectShape shape;
  shape.gguf = false;
  shape.n_layers = 61;
  const std::pair<const char*, WeightGroup> names[] = {
      {"model.embed_tokens.weight", WeightGroup::kEmbedding},
      {"lm_head.weight", WeightGroup::kOutput},
      {"model.norm.weight", WeightGroup::kNorms},
      {"model.layers.0.self_attn.q_a_proj.weight", WeightGroup::kAttention},
      {"model.layers.0.self_attn.q_a_proj.weight_scale_inv", WeightGroup::kAttention},
      {"model.layers.0.self_attn.kv_a_layernorm.weight", WeightGroup::kNorms},
      {"model.layers.0.mlp.down_proj.weight", WeightGroup::kDenseFfn},
      {"model.layers.3.mlp.gate.weight", WeightGroup::kRouter},
      {"model.layers.3.mlp.gate.e_score_correction_bias", WeightGroup::kRouter},
      {"model.layers.3.mlp.experts.17.gate_proj.weight", WeightGroup::kRoutedExperts},
      {"model.layers.3.mlp.shared_experts.up_proj.weight", WeightGroup::kSharedExperts},
      {"model.layers.61.shared_head.head.weight", WeightGroup::kMtp},
      {"something.else", WeightGroup::kOther},
  };
  for (const auto& [name, role] : names) {
    CAPTURE(name);
    CHECK(group_name(group_of(name, shape)) == group_name(role));
  }
}

TEST_CASE("any GGUF is inspected: unknown architecture, unknown types, hostile strings") {
  const TempDir dir;
  const std::vector<float> floats(8, 1.0f);
  const std::string foreign(96, 'x');
  std::vector<std::string> tokens(1000, "t");
  tokens[0] = "\xff\xfe\x1b[2J\"\\";
  TinyGguf gguf;
  gguf.str("general.architecture", "martian")
      .str("general.name", "bad \xff utf-8 \x1b[31m")
      .u64("big", UINT64_MAX)
      .f32("nan", std::nanf(""));
  gguf.strings("tokenizer.ggml.tokens", tokens)
      .str("\xc3(", "key that is no UTF-8")
      .boolean("flag", true)
      .f32s("short", {1, 2});
  gguf.str("martian.block_count", "not a number").i32("martian.expert_count", -5);
  gguf.f32_tensor("blk.0.weird.weight", {4, 2}, floats)
      .raw_tensor("blk.0.ffn_up_exps.weight", 153, {256}, std::as_bytes(std::span(foreign)));
  gguf.write(dir / "m.gguf");

  for (const bool full : {false, true}) {
    const std::string text = inspect_file(dir / "m.gguf", false, full);
    CHECK(text.find('\x1b') == std::string::npos);
    CHECK(text.find("IQ2_KT") != std::string::npos);
    CHECK(text.find("martian") != std::string::npos);
    const Json json = Json::parse(inspect_file(dir / "m.gguf", true, full));
    CHECK(json["metadata"]["general.architecture"] == "martian");
    CHECK(json["metadata"]["big"] == UINT64_MAX);
    CHECK(json["metadata"]["flag"] == true);
    CHECK(json["metadata"]["short"].size() == 2);
    CHECK(json["tensors"].size() == 2);
    CHECK(json["tensors"][0]["shape"] == Json::array({4, 2}));
    CHECK(json["tensors"][1]["type_id"] == 153);
    CHECK(json["total"]["tensors"] == 2);
    CHECK(json["bytes_per_token"].is_null());
    const Json& list = json["metadata"]["tokenizer.ggml.tokens"];
    CHECK((full ? list.size() == 1000 : list["count"] == 1000 && list["type"] == "array of string"));
  }
}

TEST_CASE("a vocabulary-only GGUF and a damaged one") {
  const TempDir dir;
  TinyGguf()
      .str("general.architecture", "deepseek2")
      .strings("tokenizer.ggml.tokens", {"a", "b"})
      .write(dir / "v.gguf");
  CHECK(Json::parse(inspect_file(dir / "v.gguf", true, false))["tensors"].empty());
  CHECK(inspect_file(dir / "v.gguf", false, false).find("tokenizer.ggml.tokens") != std::string::npos);
  write_bytes(dir / "bad.gguf", "GGUF");
  CHECK_THROWS_AS(inspect_file(dir / "bad.gguf", true, false), Error);
  CHECK_THROWS_AS(inspect_file(dir / "absent.gguf", true, false), Error);
}

TEST_CASE("the demo checkpoint: FP8 blocks with their scales are 8.002 bits per weight") {
  const Json json = Json::parse(inspect_file(DODECA_SOURCE_DIR "/bench/demo/model", true, false));
  CHECK(json["files"].size() == 2);
  CHECK(json["config"]["model_type"] == "deepseek_v3");
  CHECK(json["roles"]["routed experts"]["bits_per_weight"].get<double>() ==
        doctest::Approx(8.0 + 32.0 / 128 / 128).epsilon(1e-6));
  CHECK(json["roles"].contains("MTP layers"));
  CHECK(json["bytes_per_token"].get<std::uint64_t>() < json["total"]["bytes"].get<std::uint64_t>());
  const std::string text = inspect_file(DODECA_SOURCE_DIR "/bench/demo/model", false, false);
  CHECK(text.find(".experts.*.") != std::string::npos);
}
