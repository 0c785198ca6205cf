#include <doctest/doctest.h>
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "runtime/model/random_source.hpp"
#include "runtime/model/shapes.hpp"
#include "runtime/quantize/quantize.hpp"
#include "runtime/quantize/verify.hpp"
#include "tests/runtime/quantize/quantize_fixture.hpp"
#include "tests/support/temp_dir.hpp"

using namespace dodeca;
using namespace dodeca::tests::quantizing;
using namespace dodeca::runtime::quantize;
using dodeca::tests::TempDir;

TEST_CASE("a split file holds what the whole one holds") {
  TempDir dir;
  const auto source = open_weights(kDemo, {}, kSilent);
  const QuantizePlan plan = plan_quantization(*source, recipe_options("ud-q2_k_xl"), kSilent);
  cpu::Team team(2);
  const QuantizeResult whole = write_quantized(*source, plan, dir / "whole.gguf", team);
  WriteOptions options{.split = {.max_bytes = 3'000'000}};
  const QuantizeResult split = write_quantized(*source, plan, dir / "q.gguf", team, options);
  CHECK(whole.files.size() == 1);
  REQUIRE(split.files.size() >= 4);
  CHECK(split.files.front().path == dir / fmt::format("q-00001-of-{:05}.gguf", split.files.size()));
  CHECK(split.checksums == whole.checksums);
  CHECK(dir.n_entries() == 1 + split.files.size());
  const GgufFile a = GgufFile::open(whole.files[0].path), b = GgufFile::open(split.files[0].path);
  REQUIRE(a.tensors().size() == b.tensors().size());
  CHECK(a.metadata().entries().size() + 3 == b.metadata().entries().size());
  for (std::size_t i = 0; i < a.tensors().size(); ++i) {
    std::vector<std::byte> left(a.tensors()[i].bytes), right(b.tensors()[i].bytes);
    a.read(a.tensors()[i], 0, left);
    b.read(b.tensors()[i], 0, right);
    CHECK(left == right);
  }
  // A split source becomes one file again.
  make(split.files[0].path, dir / "joined.gguf", recipe_options("ud-q2_k_xl"));
  const GgufFile joined = GgufFile::open(dir / "joined.gguf");
  CHECK(joined.metadata().entries().size() == a.metadata().entries().size());
  CHECK(joined.tensors().size() == a.tensors().size());
}

TEST_CASE("verify: the errors of the new file, and a byte that changed on the disk") {
  TempDir dir;
  const auto source = open_weights(kDemo, {}, kSilent);
  QuantizeOptions options = uniform_options(DType::kQ4_K);
  options.types.output = DType::kF32;
  const QuantizePlan plan = plan_quantization(*source, options, kSilent);
  cpu::Team one(1), team(3);
  const QuantizeResult result = write_quantized(*source, plan, dir / "q.gguf", team);
  const Verification found = verify(*source, plan, result, team, {});
  const Verification again = verify(*source, plan, result, one, {}, true);
  CHECK(found.checksum == again.checksum);
  const auto made = open_weights(dir / "q.gguf", {}, kSilent);
  for (std::size_t i = 0; i < plan.tensors.size(); ++i) {
    CAPTURE(plan.tensors[i].name);
    CHECK(found.tensors[i].intact);
    CHECK(found.tensors[i].square == doctest::Approx(again.tensors[i].square).epsilon(1e-12));
    if (plan.tensors[i].dtype == DType::kF32) CHECK(found.tensors[i].relative_error() == 0);
  }
  const auto index_of = [&](std::string_view name) {
    const auto at = std::ranges::find_if(plan.tensors, [&](const OutputTensor& t) { return t.name == name; });
    return static_cast<std::size_t>(at - plan.tensors.begin());
  };
  const char* name = "blk.2.ffn_up_exps.weight";
  CHECK(found.tensors[index_of(name)].relative_error() ==
        doctest::Approx(relative_error(values_of(*made, name), values_of(*source, name))).epsilon(1e-6));

  const GgufTensor victim = *GgufFile::open(dir / "q.gguf").find(name);
  {
    std::fstream file(dir / "q.gguf", std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(victim.offset + victim.bytes - 1));
    const int last = file.get();
    file.seekp(static_cast<std::streamoff>(victim.offset + victim.bytes - 1));
    file.put(static_cast<char>(last ^ 16));
  }
  const Verification damaged = verify(*source, plan, result, team, {});
  for (std::size_t i = 0; i < plan.tensors.size(); ++i) CHECK(damaged.tensors[i].intact == (i != index_of(name)));
  CHECK(damaged.checksum != found.checksum);
}

TEST_CASE("attn_kv_b has the importance of attn_v_b, which multiplies the same latent") {
  const auto source = open_weights(kDemo, {}, kSilent);
  ImportanceMatrix imatrix;
  imatrix.entries["blk.0.attn_v_b.weight"] = {
      .n_in = 256 * 8, .sums = std::vector<float>(256 * 8, 1.0f), .counts = {1.0f}};
  QuantizeOptions fused = uniform_options(DType::kQ4_K);
  fused.fused_kv_b = true;
  fused.imatrix = &imatrix;
  const QuantizePlan plan = plan_quantization(*source, fused, kSilent);
  for (const OutputTensor& tensor : plan.tensors)
    if (tensor.name.ends_with("attn_kv_b.weight"))
      CHECK((tensor.importance != nullptr) == (tensor.name == "blk.0.attn_kv_b.weight"));
}

TEST_CASE("the older layout with attn_kv_b, and back") {
  TempDir dir;
  make(kDemo, dir / "f32.gguf", uniform_options(DType::kF32));
  QuantizeOptions fused = uniform_options(DType::kF32);
  fused.fused_kv_b = true;
  make(kDemo, dir / "fused.gguf", fused);
  make(dir / "f32.gguf", dir / "fused2.gguf", fused);
  make(dir / "fused.gguf", dir / "back.gguf", uniform_options(DType::kF32));
  make(dir / "fused.gguf", dir / "copied.gguf", fused);
  const GgufFile old = GgufFile::open(dir / "fused.gguf");
  REQUIRE(old.find("blk.0.attn_kv_b.weight") != nullptr);
  CHECK(old.find("blk.0.attn_kv_b.weight")->dims == std::vector<std::int64_t>{256, 512});
  CHECK(old.find("blk.0.attn_k_b.weight") == nullptr);
  CHECK(old.find("blk.0.attn_v_b.weight") == nullptr);
  CHECK(old.metadata().integer("deepseek2.attention.head_count_kv") == 8);
  CHECK(old.metadata().integer("deepseek2.attention.key_length") == 64);
  CHECK(old.metadata().integer("deepseek2.attention.value_length") == 32);
  CHECK_FALSE(old.metadata().integer("deepseek2.attention.key_length_mla").has_value());
  CHECK(old.metadata().strings("tokenizer.ggml.tokens")->size() == 4096);
  CHECK(bytes_of(dir / "copied.gguf") == bytes_of(dir / "fused.gguf"));
  const auto first = open_weights(dir / "f32.gguf", {}, kSilent);
  for (const char* name : {"fused.gguf", "fused2.gguf", "back.gguf"}) {
    const auto other = open_weights(dir / name, {}, kSilent);
    for (const WeightInfo& weight : first->weights()) {
      CAPTURE(name);
      CAPTURE(weight.name);
      CHECK(values_of(*other, weight.name) == values_of(*first, weight.name));
    }
  }
  // Quantized: the errors are those of the type, and the MTP layer follows.
  fused.types.uniform = DType::kQ4_K;
  fused.keep_mtp = true;
  const auto source = open_weights(kDemo, {}, kSilent);
  const QuantizePlan plan = plan_quantization(*source, fused, kSilent);
  cpu::Team team(2);
  const Verification found = verify(*source, plan, write_quantized(*source, plan, dir / "q4.gguf", team), team, {});
  int n_fused = 0;
  for (std::size_t i = 0; i < plan.tensors.size(); ++i) {
    if (!plan.tensors[i].name.ends_with("attn_kv_b.weight")) continue;
    ++n_fused;
    CHECK(plan.tensors[i].dtype == DType::kQ4_K);
    CHECK(found.tensors[i].relative_error() > 0.01);
    CHECK(found.tensors[i].relative_error() < 0.1);
  }
  CHECK(n_fused == 7);
}

TEST_CASE("a directory of headers alone can be planned") {
  TempDir dir;
  for (const auto& entry : std::filesystem::directory_iterator(kDemo)) {
    const std::filesystem::path to = dir / entry.path().filename().string();
    std::filesystem::copy_file(entry.path(), to);
    if (to.extension() != ".safetensors") continue;
    std::uint64_t header = 0;
    std::ifstream(to, std::ios::binary).read(reinterpret_cast<char*>(&header), sizeof header);
    std::filesystem::resize_file(to, sizeof header + header);
  }
  CHECK_THROWS_AS(open_weights(dir.path(), {}, kSilent), Error);
  const auto whole = open_weights(kDemo, {}, kSilent), cut = open_weights(dir.path(), {.headers_only = true}, kSilent);
  const QuantizeOptions options = recipe_options("ud-q2_k_xl");
  const QuantizePlan plan = plan_quantization(*cut, options, kSilent);
  CHECK(plan.tensor_bytes() == plan_quantization(*whole, options, kSilent).tensor_bytes());
  cpu::Team team(1);
  CHECK_THROWS_AS(write_quantized(*cut, plan, dir / "q.gguf", team), Error);
  CHECK_FALSE(std::filesystem::exists(dir / "q.gguf"));
}

TEST_CASE("memory is bounded, and less with smaller pieces of work") {
  const auto source = open_weights(kDemo, {}, kSilent);
  const QuantizePlan plan = plan_quantization(*source, uniform_options(DType::kQ8_0), kSilent);
  CHECK(working_bytes(plan, 2, true) < working_bytes(plan, 2, false));
  const auto large = random_weights(
      published_shape("deepseek-v3"), [](const WantedWeight&) { return DType::kBF16; }, 1);
  const QuantizePlan v3 = plan_quantization(*large, recipe_options("ud-q2_k_xl"), kSilent);
  CHECK(working_bytes(v3, 2, false) < (std::uint64_t{64} << 20));
  CHECK(working_bytes(v3, 96, false) < (std::uint64_t{1} << 30));
}
