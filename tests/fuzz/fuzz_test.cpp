// Drives the entry points over a seed corpus and a fixed number of deterministic mutations of it: bytes changed, cut,
// inserted, repeated, spliced with another seed, and integers replaced by the values at which checks go wrong.
#include <doctest/doctest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/targets.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::tests;

namespace {

using Target = int (*)(const std::uint8_t*, std::size_t);

std::string mutate(std::string bytes, const std::vector<std::string>& seeds, std::mt19937_64& random) {
  const auto below = [&](std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random() % n); };
  static constexpr std::uint64_t kEdges[] = {0,          1,          2,          0x7F,       0x80,       0xFF,
                                             0xFFFF,     0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1ull << 32, 1ull << 61,
                                             1ull << 62, ~0ull >> 1, 1ull << 63, ~0ull,      ~0ull - 31, 9};
  for (std::size_t n = 1 + below(4); n > 0; --n) {
    const std::size_t at = below(bytes.size());
    switch (below(7)) {
      case 0:
        if (!bytes.empty()) bytes[at] = static_cast<char>(random());
        break;
      case 1:
        if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 2: {
        const std::size_t width = std::size_t{1} << below(4);
        if (at + width <= bytes.size()) bytes.replace(at, width, le(kEdges[below(std::size(kEdges))]).substr(0, width));
        break;
      }
      case 3:
        bytes.resize(at);
        break;
      case 4:
        bytes.insert(at, std::string(1 + below(16), static_cast<char>(random())));
        break;
      case 5:
        bytes.insert(at, bytes.substr(below(bytes.size()), below(64)));
        break;
      case 6: {
        const std::string& other = seeds[below(seeds.size())];
        bytes = bytes.substr(0, at) + other.substr(below(other.size()));
        break;
      }
    }
  }
  return bytes;
}

void drive(Target target, const std::vector<std::string>& seeds, int n_mutations) {
  const auto call = [&](const std::string& bytes) {
    target(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  };
  for (const std::string& seed : seeds) CHECK_NOTHROW(call(seed));
  std::mt19937_64 random(12);
  for (int i = 0; i < n_mutations; ++i) {
    const std::string bytes = mutate(seeds[static_cast<std::size_t>(i) % seeds.size()], seeds, random);
    try {
      call(bytes);
    } catch (const std::exception& error) {
      FAIL_CHECK("mutation " << i << ": " << error.what());
    }
  }
}

std::vector<std::string> gguf_seeds() {
  const std::vector<float> floats(32, 1.0f);
  const std::string block(68, 'q');
  TinyGguf metadata, tensors, aligned, foreign, split;
  metadata.str("general.architecture", "deepseek2")
      .u8("a", 1)
      .i16("b", -1)
      .f64("c", 2)
      .boolean("d", true)
      .strings("e", {"x", "", "yz"});
  metadata.i32s("f", {1, 2, 3}).raw_array("g", 7, 2, std::string("\1\0", 2));
  tensors.f32_tensor("norm", {32}, floats)
      .tensor("w", dodeca::quant::DType::kQ8_0, {32, 2}, std::as_bytes(std::span(block)));
  aligned.alignment = 8;
  aligned.u32("general.alignment", 8)
      .f32_tensor("t", {1}, std::span(floats).first(1))
      .f32_tensor("u", {3, 2}, std::span(floats).first(6));
  foreign.raw_tensor("f", 137, {256}, std::as_bytes(std::span(block))).f32_tensor("t", {1}, std::span(floats).first(1));
  split.u16("split.no", 0).u16("split.count", 2).i32("split.tensors.count", 1);
  return {"GGUF", metadata.bytes(), tensors.bytes(), aligned.bytes(), foreign.bytes(), split.bytes()};
}

std::vector<std::string> safetensors_seeds() {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"F8_E4M3","shape":[],"data_offsets":[8,9]},"c":{"dtype":"U8","shape":[0,3],"data_offsets":[9,9]}})";
  return {le(std::uint64_t{2}) + "{}", le(std::uint64_t{header.size()}) + header + "123456789"};
}

std::vector<std::string> json_seeds() {
  return {R"({"a":[1,-2,3.5e-7,true,false,null,"x\u00e9\n\ud83d\ude00"],"b":{"c":{"d":[[[]]]}},"":0})",
          "[[[[[[[[]]]]]]]]",
          "\"text\"",
          "18446744073709551615",
          "-9223372036854775808",
          "[1e308,-0.0,0]"};
}

std::vector<std::string> imatrix_seeds() {
  const std::vector<float> sums{1, 2, 0, 0, 9, 6}, counts{1, 0, 3};
  TinyGguf gguf;
  gguf.str("general.type", "imatrix").strings("imatrix.datasets", {"text"});
  gguf.u32("imatrix.chunk_count", 5).u32("imatrix.chunk_size", 16);
  gguf.f32_tensor("blk.0.ffn_up_exps.weight.in_sum2", {2, 3}, sums)
      .f32_tensor("blk.0.ffn_up_exps.weight.counts", {1, 3}, counts);
  const auto integer = [](std::int32_t value) { return le(value); };
  const std::string name = "blk.0.attn_q.weight";
  const std::string dat = integer(1) + integer(static_cast<std::int32_t>(name.size())) + name + integer(4) +
                          integer(2) + le(1.0f) + le(2.0f) + integer(5) + integer(4) + "text";
  return {gguf.bytes(), dat};
}

std::vector<std::string> recipe_seeds() {
  return {R"({"recipe":"r","default":"Q4_K","tensors":{"output.weight":"Q6_K","blk.3.ffn_down_exps.weight":"iq3_s"},)"
          R"("rules":[{"match":"_exps","type":"Q2_K"},{"match":"^token.*(embd|x)\\.[a-w]+$","type":"Q5_0"}]})",
          R"({"default":"Q8_0","rules":[{"match":"(a+)+$|(?<=w)e(?R)?","type":"Q2_K"}]})", R"({"default":"BF16"})"};
}

}  // namespace

TEST_CASE("fuzz GGUF") { drive(fuzz_gguf, gguf_seeds(), 30000); }
TEST_CASE("fuzz safetensors") { drive(fuzz_safetensors, safetensors_seeds(), 30000); }
TEST_CASE("fuzz JSON") { drive(fuzz_json, json_seeds(), 60000); }
TEST_CASE("fuzz importance matrices") { drive(fuzz_imatrix, imatrix_seeds(), 30000); }
TEST_CASE("fuzz recipes") { drive(fuzz_recipe, recipe_seeds(), 30000); }
