#include "runtime/quantize/quantize.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "runtime/model/random_source.hpp"
#include "tests/runtime/quantize/quantize_fixture.hpp"
#include "tests/support/small_config.hpp"
#include "tests/support/temp_dir.hpp"

using namespace dodeca;
using namespace dodeca::tests::quantizing;
using namespace dodeca::runtime::quantize;
using dodeca::tests::TempDir;

TEST_CASE("the demo as ud-q2_k_xl: types, layout and keys of the new file") {
  TempDir dir;
  Lines lines;
  make(kDemo, dir / "q.gguf", recipe_options("ud-q2_k_xl"), 2, lines.log());
  CHECK(lines.mention("multi-token-prediction"));
  CHECK(lines.mention("Q8_0 instead for blk.0.attn_k_b.weight"));
  CHECK(dir.n_entries() == 1);

  const GgufFile file = GgufFile::open(dir / "q.gguf");
  const auto type = [&](const char* name) {
    REQUIRE(file.find(name) != nullptr);
    return file.find(name)->dtype;
  };
  CHECK(type("token_embd.weight") == DType::kQ4_K);
  CHECK(type("output.weight") == DType::kQ6_K);
  CHECK(type("output_norm.weight") == DType::kF32);
  CHECK(type("blk.0.ffn_down.weight") == DType::kQ6_K);
  CHECK(type("blk.5.ffn_gate_exps.weight") == DType::kQ2_K);
  CHECK(type("blk.5.ffn_down_exps.weight") == DType::kQ3_K);
  CHECK(type("blk.5.ffn_gate_inp.weight") == DType::kF32);
  CHECK(type("blk.5.exp_probs_b.bias") == DType::kF32);
  CHECK(type("blk.5.attn_k_b.weight") == DType::kQ8_0);
  CHECK(type("blk.5.attn_v_b.weight") == DType::kQ6_K);
  CHECK(file.find("blk.5.attn_k_b.weight")->dims == std::vector<std::int64_t>{32, 256, 8});
  CHECK(file.find("blk.5.attn_v_b.weight")->dims == std::vector<std::int64_t>{256, 32, 8});
  CHECK(file.find("blk.5.exp_probs_b.bias")->dims == std::vector<std::int64_t>{16});
  CHECK(file.find("blk.6.attn_norm.weight") == nullptr);
  CHECK(file.tensors().size() == 106);

  const Metadata& m = file.metadata();
  const auto integer = [&](const char* key) { return m.integer(std::string("deepseek2.") + key); };
  CHECK(m.string("general.architecture") == "deepseek2");
  CHECK(m.string("general.size_label") == "16x7.7M");
  CHECK(m.integer("general.file_type") == 10);
  CHECK(m.integer("general.quantization_version") == 2);
  CHECK(m.number("general.sampling.temp") == doctest::Approx(0.6));
  CHECK(integer("block_count") == 6);
  CHECK_FALSE(integer("nextn_predict_layers").has_value());
  CHECK(integer("context_length") == 512);
  CHECK(integer("embedding_length") == 256);
  CHECK(integer("feed_forward_length") == 1024);
  CHECK(integer("leading_dense_block_count") == 1);
  CHECK(integer("vocab_size") == 4096);
  CHECK(integer("attention.head_count") == 8);
  CHECK(integer("attention.head_count_kv") == 1);
  CHECK(integer("attention.q_lora_rank") == 256);
  CHECK(integer("attention.kv_lora_rank") == 256);
  CHECK(integer("attention.key_length") == 288);
  CHECK(integer("attention.value_length") == 256);
  CHECK(integer("attention.key_length_mla") == 64);
  CHECK(integer("attention.value_length_mla") == 32);
  CHECK(integer("rope.dimension_count") == 32);
  CHECK(integer("rope.scaling.original_context_length") == 128);
  CHECK(m.string("deepseek2.rope.scaling.type") == "yarn");
  CHECK(m.number("deepseek2.rope.scaling.factor") == 4.0);
  CHECK(m.number("deepseek2.rope.scaling.yarn_log_multiplier") == doctest::Approx(0.1));
  CHECK(m.number("deepseek2.rope.freq_base") == 10000.0);
  CHECK(m.number("deepseek2.attention.layer_norm_rms_epsilon") == doctest::Approx(1e-6));
  CHECK(integer("expert_count") == 16);
  CHECK(integer("expert_used_count") == 4);
  CHECK(integer("expert_shared_count") == 1);
  CHECK(integer("expert_feed_forward_length") == 256);
  CHECK(integer("expert_group_count") == 4);
  CHECK(integer("expert_group_used_count") == 2);
  CHECK(integer("expert_gating_func") == 2);
  CHECK(m.number("deepseek2.expert_weights_scale") == 2.5);
  CHECK(m.boolean("deepseek2.expert_weights_norm") == true);
  CHECK(m.string("tokenizer.ggml.model") == "gpt2");
  REQUIRE(m.strings("tokenizer.ggml.tokens") != nullptr);
  CHECK(m.strings("tokenizer.ggml.tokens")->size() == 4096);
  CHECK(m.string("tokenizer.chat_template").has_value());
}

TEST_CASE("F32 is the checkpoint exactly; quantized files are near it") {
  TempDir dir;
  make(kDemo, dir / "f32.gguf", uniform_options(DType::kF32));
  const auto original = open_weights(kDemo, {}, kSilent), exact = open_weights(dir / "f32.gguf", {}, kSilent);
  REQUIRE(original->weights().size() == exact->weights().size());
  for (const WeightInfo& weight : original->weights()) {
    CAPTURE(weight.name);
    CHECK(values_of(*exact, weight.name) == values_of(*original, weight.name));
  }
  make(dir / "f32.gguf", dir / "q4.gguf", uniform_options(DType::kQ4_K));
  const auto quantized = open_weights(dir / "q4.gguf", {}, kSilent);
  for (const char* name :
       {"token_embd.weight", "blk.2.ffn_up_exps.weight", "blk.2.attn_k_b.weight", "blk.2.attn_v_b.weight"}) {
    CAPTURE(name);
    const double error = relative_error(values_of(*quantized, name), values_of(*original, name));
    CHECK(error > 0.01);
    CHECK(error < 0.1);
  }
  CHECK(values_of(*quantized, "blk.2.ffn_gate_inp.weight") == values_of(*original, "blk.2.ffn_gate_inp.weight"));
}

TEST_CASE("the file is the same for every team, and from the directory or its F32 GGUF") {
  TempDir dir;
  const QuantizeOptions options = recipe_options("ud-q2_k_xl");
  make(kDemo, dir / "1.gguf", options, 1);
  make(kDemo, dir / "3.gguf", options, 3);
  CHECK(bytes_of(dir / "1.gguf") == bytes_of(dir / "3.gguf"));
  make(kDemo, dir / "f32.gguf", uniform_options(DType::kF32));
  make(dir / "f32.gguf", dir / "again.gguf", options);
  const GgufFile direct = GgufFile::open(dir / "1.gguf"), indirect = GgufFile::open(dir / "again.gguf");
  REQUIRE(direct.tensors().size() == indirect.tensors().size());
  for (std::size_t i = 0; i < direct.tensors().size(); ++i) {
    const GgufTensor &a = direct.tensors()[i], &b = indirect.tensors()[i];
    REQUIRE(a.name == b.name);
    REQUIRE(a.bytes == b.bytes);
    std::vector<std::byte> left(a.bytes), right(b.bytes);
    direct.read(a, 0, left);
    indirect.read(b, 0, right);
    CHECK(left == right);
  }
  CHECK(direct.metadata().entries().size() == indirect.metadata().entries().size());
}

TEST_CASE("a GGUF keeps unknown keys and harmless tensors; old layout becomes the split one") {
  TempDir dir;
  make(kDemo, dir / "f32.gguf", uniform_options(DType::kF32));
  // Write the old layout by hand: attn_kv_b [latent, heads * (nope + v)] instead of the two halves, one tensor
  // beside that no model uses.
  const GgufFile modern = GgufFile::open(dir / "f32.gguf");
  Metadata metadata = modern.metadata();
  metadata.set("deepseek2.attention.head_count_kv", std::uint32_t{8});
  metadata.set("deepseek2.attention.key_length", std::uint32_t{64});
  metadata.set("deepseek2.attention.value_length", std::uint32_t{32});
  metadata.erase("deepseek2.attention.key_length_mla");
  metadata.erase("deepseek2.attention.value_length_mla");
  metadata.set("someone.else", std::string("kept"));
  metadata.set("split.count", std::uint16_t{1});
  std::vector<GgufWriter::TensorSpec> specs;
  std::vector<std::vector<std::byte>> data;
  for (const GgufTensor& tensor : modern.tensors()) {
    if (tensor.name.ends_with("attn_v_b.weight")) continue;
    if (!tensor.name.ends_with("attn_k_b.weight")) {
      specs.push_back({tensor.name, tensor.dtype, tensor.dims});
      data.emplace_back(tensor.bytes);
      modern.read(tensor, 0, data.back());
      continue;
    }
    const std::string prefix = tensor.name.substr(0, tensor.name.size() - std::strlen("k_b.weight"));
    const GgufTensor& v_b = *modern.find(prefix + "v_b.weight");
    const std::size_t nope = 32, latent = 256, v = 32, heads = 8;
    std::vector<float> k(nope * latent * heads), values(latent * v * heads), joined(latent * (nope + v) * heads);
    modern.read(tensor, 0, std::as_writable_bytes(std::span(k)));
    modern.read(v_b, 0, std::as_writable_bytes(std::span(values)));
    for (std::size_t h = 0; h < heads; ++h) {
      float* block = joined.data() + h * (nope + v) * latent;
      for (std::size_t d = 0; d < nope; ++d) {
        for (std::size_t l = 0; l < latent; ++l) block[d * latent + l] = k[(h * latent + l) * nope + d];
      }
      std::copy_n(values.data() + h * v * latent, v * latent, block + nope * latent);
    }
    specs.push_back({prefix + "kv_b.weight", DType::kF32, {256, 512}});
    data.emplace_back(joined.size() * sizeof(float));
    std::memcpy(data.back().data(), joined.data(), data.back().size());
  }
  specs.push_back({"blk.1.attn_rot_embd.weight", DType::kI32, {5}});
  data.emplace_back(20, std::byte{7});
  {
    GgufWriter writer(dir / "old.gguf", metadata, specs);
    for (const auto& bytes : data) writer.append(bytes);
    writer.finish();
  }

  Lines lines;
  make(dir / "old.gguf", dir / "new.gguf", uniform_options(DType::kF32), 2, lines.log());
  CHECK(lines.mention("blk.1.attn_rot_embd.weight"));
  const GgufFile made = GgufFile::open(dir / "new.gguf");
  CHECK(made.metadata().string("someone.else") == "kept");
  CHECK_FALSE(made.metadata().integer("split.count").has_value());
  CHECK(made.metadata().integer("deepseek2.attention.head_count_kv") == 1);
  CHECK(made.metadata().integer("deepseek2.attention.key_length") == 288);
  CHECK(made.metadata().integer("deepseek2.attention.key_length_mla") == 64);
  REQUIRE(made.find("blk.1.attn_rot_embd.weight") != nullptr);
  std::vector<std::byte> stranger(20);
  made.read(*made.find("blk.1.attn_rot_embd.weight"), 0, stranger);
  CHECK(stranger == data.back());
  CHECK(made.find("blk.0.attn_kv_b.weight") == nullptr);
  const auto first = open_weights(dir / "f32.gguf", {}, kSilent), second = open_weights(dir / "new.gguf", {}, kSilent);
  for (const WeightInfo& weight : first->weights()) {
    CAPTURE(weight.name);
    CHECK(values_of(*second, weight.name) == values_of(*first, weight.name));
  }
}

TEST_CASE("the MTP layer is kept on request, and a file that has it loses it by default") {
  TempDir dir;
  QuantizeOptions keep = uniform_options(DType::kQ8_0);
  keep.keep_mtp = true;
  make(kDemo, dir / "mtp.gguf", keep);
  const GgufFile with = GgufFile::open(dir / "mtp.gguf");
  CHECK(with.metadata().integer("deepseek2.block_count") == 7);
  CHECK(with.metadata().integer("deepseek2.nextn_predict_layers") == 1);
  CHECK(with.find("blk.6.nextn.eh_proj.weight") != nullptr);
  CHECK(with.find("blk.6.attn_k_b.weight") != nullptr);

  make(dir / "mtp.gguf", dir / "plain.gguf", uniform_options(DType::kQ8_0));
  const GgufFile without = GgufFile::open(dir / "plain.gguf");
  CHECK(without.metadata().integer("deepseek2.block_count") == 6);
  CHECK_FALSE(without.metadata().integer("deepseek2.nextn_predict_layers").has_value());
  CHECK(without.find("blk.6.nextn.eh_proj.weight") == nullptr);
  CHECK(without.tensors().size() == 106);
}

TEST_CASE("dense layers behind layers with experts are refused: GGUF has no key for them") {
  ModelConfig c = tests::small_mla_config(0, 3);
  c.layers[1].ffn = FfnKind::kDense;
  const auto source = random_weights(
      c, [](const WantedWeight&) { return DType::kF16; }, 1);
  CHECK_THROWS_WITH_AS(plan_quantization(*source, uniform_options(DType::kQ8_0), kSilent),
                       doctest::Contains("layer 1 is dense and layer 0 has experts"), Error);
}

TEST_CASE("overrides of types and metadata; one that matches nothing is told") {
  TempDir dir;
  QuantizeOptions options = uniform_options(DType::kQ4_0);
  options.types.output = DType::kQ6_K;
  options.types.overrides.push_back(parse_override("ffn_down_exps=Q5_K"));
  options.types.overrides.push_back(parse_override("nothing_like_it=Q5_K"));
  options.override_kv.push_back("general.name=str:Renamed");
  Lines lines;
  make(kDemo, dir / "q.gguf", options, 2, lines.log());
  const GgufFile file = GgufFile::open(dir / "q.gguf");
  CHECK(file.find("blk.3.ffn_down_exps.weight")->dtype == DType::kQ5_K);
  CHECK(file.find("blk.3.ffn_up_exps.weight")->dtype == DType::kQ4_0);
  CHECK(file.find("output.weight")->dtype == DType::kQ6_K);
  CHECK(file.metadata().string("general.name") == "Renamed");
  CHECK(lines.mention("nothing_like_it"));
  CHECK_FALSE(lines.mention("ffn_down_exps"));
}

TEST_CASE("a recipe from a file: what it says of no tensor is told, and the type of most weights names the file") {
  QuantizeOptions options;
  options.types.file = parse_recipe(
      R"({"default":"Q8_0","tensors":{"blk.3.ffn_down_exps.weight":"Q6_K","blk.0.no_such.weight":"Q4_K",
          "output_norm.weight":"Q4_K"},
          "rules":[{"match":"ffn_(gate|up|down)_exps","type":"IQ3_S"},{"match":"nothing_has_this","type":"Q2_K"}]})",
      "text");
  const auto source = open_weights(kDemo, {}, kSilent);
  Lines lines;
  const QuantizePlan plan = plan_quantization(*source, options, lines.log());
  CHECK(lines.mention("blk.0.no_such.weight and 1 more"));
  CHECK(lines.mention("nothing_has_this=Q2_K matches no tensor"));
  CHECK_FALSE(lines.mention("blk.3.ffn_down_exps.weight"));
  CHECK_FALSE(lines.mention("gate|up"));
  CHECK(plan.metadata.integer("general.file_type") == 26);  // IQ3_S

  options.types.file = parse_recipe(R"({"default":"Q8_0"})", "text");
  CHECK(plan_quantization(*source, options, kSilent).metadata.integer("general.file_type") == 7);
}

TEST_CASE("a rule that takes too long is named") {
  QuantizeOptions options = uniform_options(DType::kQ8_0);
  options.types.overrides.push_back(parse_override("([a-z0-9._]+)+(?![a-z0-9._]|$)=Q4_K"));
  const auto source = open_weights(kDemo, {}, kSilent);
  CHECK_THROWS_WITH_AS(plan_quantization(*source, options, kSilent), doctest::Contains("([a-z0-9._]+)+(?!"), Error);
}

TEST_CASE("NaN in the source: an error that names the weight, and no file") {
  TempDir dir;
  make(kDemo, dir / "f32.gguf", uniform_options(DType::kF32));
  const GgufFile good = GgufFile::open(dir / "f32.gguf");
  const GgufTensor& victim = *good.find("blk.3.ffn_up_exps.weight");
  for (const float bad : {NAN, INFINITY}) {
    {
      std::fstream file(dir / "f32.gguf", std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(
          static_cast<std::streamoff>(victim.offset + 4 * (2 * 256 * 256 + 3 * 256 + 5)));  // slice 2, row 3, column 5
      file.write(reinterpret_cast<const char*>(&bad), sizeof bad);
    }
    for (const DType dtype : {DType::kQ4_K, DType::kF32}) {
      try {
        make(dir / "f32.gguf", dir / "out.gguf", uniform_options(dtype));
        FAIL("accepted");
      } catch (const Error& error) {
        CHECK(error.sentence().find("blk.3.ffn_up_exps.weight") != std::string::npos);
        CHECK(error.sentence().find("slice 2, row 3, column 5") != std::string::npos);
      }
      CHECK(dir.n_entries() == 1);
    }
  }
}

TEST_CASE("progress ends at the total; stopping leaves nothing, also of an older file's place") {
  TempDir dir;
  const auto source = open_weights(kDemo, {}, kSilent);
  const QuantizePlan plan = plan_quantization(*source, uniform_options(DType::kQ8_0), kSilent);
  cpu::Team team(2);
  double last = -1, total = 0;
  write_quantized(*source, plan, dir / "q.gguf", team, {}, [&](double done, double all) {
    CHECK(done >= last);
    last = done;
    total = all;
    return true;
  });
  CHECK(last == total);
  CHECK(total == static_cast<double>(plan.tensor_bytes()));
  const std::string before = bytes_of(dir / "q.gguf");

  int calls = 0;
  CHECK_THROWS_AS(write_quantized(*source, plan, dir / "q.gguf", team, {}, [&](double, double) { return ++calls < 2; }),
                  Stopped);
  CHECK(dir.n_entries() == 1);
  CHECK(bytes_of(dir / "q.gguf") == before);
}
