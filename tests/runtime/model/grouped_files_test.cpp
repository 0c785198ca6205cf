// The forms in which files keep the weights of models with grouped queries: every row is the one that it should be.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "quant/codec.hpp"
#include "runtime/model/weight_source.hpp"
#include "tests/support/error_of.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_checkpoint.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::tests;
using quant::DType;

const Log kUnheard = [](Level, std::string_view) {};

std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// Values count up, so that each says where in its tensor it was.
void add_counting(TinyCheckpoint& checkpoint, const std::string& name, std::vector<std::int64_t> shape) {
  std::int64_t n = 1;
  for (const std::int64_t dim : shape) n *= dim;
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = static_cast<float>(i);
  checkpoint.add(name, "F32", std::move(shape), floats(values));
}

std::vector<float> row_of(const WeightSource& source, const std::string& name, std::int64_t slice, std::int64_t row) {
  const WeightInfo* weight = source.find(name);
  REQUIRE(weight != nullptr);
  std::vector<float> values(static_cast<std::size_t>(weight->n_in));
  source.read_rows_f32(*weight, slice, row, row + 1, values.data());
  return values;
}

std::string bytes_of(std::int64_t n, const std::function<int(std::int64_t)>& value) {
  std::string bytes;
  for (std::int64_t i = 0; i < n; ++i) bytes += static_cast<char>(value(i));
  return bytes;
}

// One layer of gpt-oss: rows of 64, experts of width 32, two of them.
nlohmann::json oss_config() {
  return nlohmann::json::parse(R"({"model_type":"gpt_oss","vocab_size":4,"hidden_size":64,"intermediate_size":32,
    "num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"head_dim":8,"num_local_experts":2,
    "num_experts_per_tok":1,"max_position_embeddings":64,"rope_theta":150000,"sliding_window":4,
    "quantization_config":{"quant_method":"mxfp4"}})");
}

TinyCheckpoint oss_checkpoint(bool mxfp4) {
  TinyCheckpoint c;
  const std::string layer = "model.layers.0.", attention = layer + "self_attn.", experts = layer + "mlp.experts.";
  add_counting(c, "model.embed_tokens.weight", {4, 64});
  add_counting(c, "model.norm.weight", {64});
  add_counting(c, "lm_head.weight", {4, 64});
  for (const char* norm : {"input_layernorm.weight", "post_attention_layernorm.weight"})
    add_counting(c, layer + norm, {64});
  for (const auto& [name, rows] : {std::pair{"q_proj", 16}, {"k_proj", 8}, {"v_proj", 8}}) {
    add_counting(c, attention + name + ".weight", {rows, 64});
    add_counting(c, attention + name + ".bias", {rows});
  }
  add_counting(c, attention + "o_proj.weight", {64, 16});
  add_counting(c, attention + "o_proj.bias", {64});
  add_counting(c, attention + "sinks", {2});
  add_counting(c, layer + "mlp.router.weight", {2, 64});
  add_counting(c, layer + "mlp.router.bias", {2});
  add_counting(c, experts + "gate_up_proj_bias", {2, 64});
  add_counting(c, experts + "down_proj_bias", {2, 64});
  if (!mxfp4) {
    add_counting(c, experts + "gate_up_proj", {2, 64, 64});
    add_counting(c, experts + "down_proj", {2, 32, 64});
    return c;
  }
  c.add(experts + "gate_up_proj_blocks", "U8", {2, 64, 2, 16},
        bytes_of(2 * 64 * 2 * 16, [](auto i) { return i % 251; }));
  c.add(experts + "gate_up_proj_scales", "U8", {2, 64, 2}, bytes_of(2 * 64 * 2, [](auto i) { return 120 + i % 9; }));
  c.add(experts + "down_proj_blocks", "U8", {2, 64, 1, 16}, bytes_of(2 * 64 * 16, [](auto i) { return i % 241; }));
  c.add(experts + "down_proj_scales", "U8", {2, 64, 1}, bytes_of(2 * 64, [](auto i) { return 120 + i % 7; }));
  return c;
}

// A value of a row of blocks in OpenAI's order.
float in_pairs(const std::string& blocks, const std::string& scales, std::int64_t row, std::int64_t n_in,
               std::int64_t column) {
  constexpr float kValues[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  const auto byte = static_cast<unsigned char>(blocks[static_cast<std::size_t>((row * n_in + column) / 2)]);
  const unsigned code = column % 2 == 0 ? byte & 15u : byte >> 4;
  const auto exponent = static_cast<unsigned char>(scales[static_cast<std::size_t>((row * n_in + column) / 32)]);
  return std::ldexp(code < 8 ? kValues[code] : -kValues[code - 8], exponent - 127);
}

TEST_CASE("gpt-oss's experts are MXFP4 without rounding, gate and up rows put apart") {
  TinyCheckpoint checkpoint = oss_checkpoint(true);
  const TempDir dir;
  checkpoint.write(dir.path(), oss_config());
  const auto source = open_weights(dir.path(), {}, kUnheard);
  const std::string experts = "model.layers.0.mlp.experts.";
  for (const auto& [name, from, first, step, n_in, n_out] : {std::tuple{"ffn_gate_exps", "gate_up_proj", 0, 2, 64, 32},
                                                             {"ffn_up_exps", "gate_up_proj", 1, 2, 64, 32},
                                                             {"ffn_down_exps", "down_proj", 0, 1, 32, 64}}) {
    CAPTURE(name);
    const std::string file_name = fmt::format("blk.0.{}.weight", name);
    CHECK(source->find(file_name)->dtype == DType::kMXFP4);
    const std::string &blocks = checkpoint.at(experts + from + "_blocks").bytes,
                      &scales = checkpoint.at(experts + from + "_scales").bytes;
    for (std::int64_t expert = 0; expert < 2; ++expert) {
      for (std::int64_t row = 0; row < n_out; ++row) {
        const std::vector<float> got = row_of(*source, file_name, expert, row);
        const std::int64_t there = expert * n_out * step + first + row * step;
        for (std::int64_t column = 0; column < n_in; ++column)
          REQUIRE(got[static_cast<std::size_t>(column)] == in_pairs(blocks, scales, there, n_in, column));
      }
    }
  }
}

TEST_CASE("gpt-oss's experts in floats lie transposed, and biases by turns") {
  const TempDir dir;
  oss_checkpoint(false).write(dir.path(), oss_config());
  const auto source = open_weights(dir.path(), {}, kUnheard);
  // [expert, column, row of gate and up by turns]
  CHECK(row_of(*source, "blk.0.ffn_gate_exps.weight", 1, 5)[3] == 1 * 64 * 64 + 3 * 64 + 10);
  CHECK(row_of(*source, "blk.0.ffn_up_exps.weight", 0, 5)[3] == 3 * 64 + 11);
  CHECK(row_of(*source, "blk.0.ffn_down_exps.weight", 1, 63)[31] == 32 * 64 + 31 * 64 + 63);
  CHECK(row_of(*source, "blk.0.ffn_gate_exps.bias", 1, 0)[4] == 64 + 8);
  CHECK(row_of(*source, "blk.0.ffn_up_exps.bias", 1, 0)[4] == 64 + 9);
  CHECK(row_of(*source, "blk.0.ffn_down_exps.bias", 1, 0)[4] == 64 + 4);
}

TEST_CASE("a checkpoint of gpt-oss that does not fit together is refused with the tensor's name") {
  const auto refused = [](const std::function<void(TinyCheckpoint&)>& spoil, const char* message) {
    TinyCheckpoint checkpoint = oss_checkpoint(true);
    spoil(checkpoint);
    const TempDir dir;
    checkpoint.write(dir.path(), oss_config());
    const std::string said = error_of([&] { open_weights(dir.path(), {}, kUnheard); });
    CHECK_MESSAGE(said.find(message) != std::string::npos, said);
  };
  const std::string down = "model.layers.0.mlp.experts.down_proj";
  refused([&](TinyCheckpoint& c) { c.drop(down + "_scales"); },
          "no tensor model.layers.0.mlp.experts.down_proj_scales");
  refused([&](TinyCheckpoint& c) { c.at(down + "_blocks").shape = {2, 64, 16, 1}; }, "[2, 64, 16, 1], the model needs");
  refused([&](TinyCheckpoint& c) { c.at(down + "_blocks").dtype = "I8"; }, "has dtype I8 (known: U8)");
  refused([&](TinyCheckpoint& c) { c.drop(down + "_blocks"); }, "no tensor model.layers.0.mlp.experts.down_proj");
  refused([&](TinyCheckpoint& c) { c.drop("model.layers.0.self_attn.sinks"); }, "self_attn.sinks");
}

TEST_CASE("Llama's query and key rows come as GGUF has them") {
  const auto config =
      nlohmann::json::parse(R"({"model_type":"llama","vocab_size":4,"hidden_size":8,"intermediate_size":8,
    "num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"head_dim":6,"attention_bias":true,
    "max_position_embeddings":64,"tie_word_embeddings":true})");
  TinyCheckpoint c;
  const std::string layer = "model.layers.0.", attention = layer + "self_attn.";
  add_counting(c, "model.embed_tokens.weight", {4, 8});
  for (const char* norm :
       {"model.norm.weight", "model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight"})
    add_counting(c, norm, {8});
  for (const auto& [name, rows, n_in] :
       {std::tuple{"q_proj", 12, 8}, {"k_proj", 6, 8}, {"v_proj", 6, 8}, {"o_proj", 8, 12}}) {
    add_counting(c, attention + name + ".weight", {rows, n_in});
    add_counting(c, attention + name + ".bias", {rows});
  }
  for (const char* part : {"gate_proj", "up_proj", "down_proj"})
    add_counting(c, layer + "mlp." + part + ".weight", {8, 8});
  const TempDir dir;
  c.write(dir.path(), config);
  const auto source = open_weights(dir.path(), {}, kUnheard);
  // Rows i and i + 3 of a head of 6 become neighbours.
  constexpr std::int64_t kOrder[] = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11};
  for (std::int64_t row = 0; row < 12; ++row) {
    CHECK(row_of(*source, "blk.0.attn_q.weight", 0, row)[0] == static_cast<float>(kOrder[row] * 8));
    CHECK(row_of(*source, "blk.0.attn_q.bias", 0, 0)[static_cast<std::size_t>(row)] == static_cast<float>(kOrder[row]));
    if (row >= 6) continue;
    CHECK(row_of(*source, "blk.0.attn_k.weight", 0, row)[1] == static_cast<float>(kOrder[row] * 8 + 1));
    CHECK(row_of(*source, "blk.0.attn_v.weight", 0, row)[0] == static_cast<float>(row * 8));
  }
}

// A layer of Mixtral as files had it when it was new, with queries, keys and values in one tensor besides.
TinyGguf old_mixtral() {
  TinyGguf gguf;
  gguf.str("general.architecture", "llama").u32("llama.block_count", 1).u32("llama.context_length", 64);
  gguf.u32("llama.embedding_length", 4).u32("llama.feed_forward_length", 2).u32("llama.attention.head_count", 2);
  gguf.u32("llama.attention.head_count_kv", 1).f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  gguf.u32("llama.expert_count", 2).u32("llama.expert_used_count", 1).str("tokenizer.ggml.model", "none");
  return gguf;
}

void add_tensor(TinyGguf& gguf, const std::string& name, const std::vector<std::int64_t>& dims, float first = 0) {
  std::int64_t n = 1;
  for (const std::int64_t dim : dims) n *= dim;
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) values[static_cast<std::size_t>(i)] = first + static_cast<float>(i);
  gguf.f32_tensor(name, dims, values);
}

void add_mixtral_tensors(TinyGguf& gguf, std::int64_t width_of_last) {
  for (const char* matrix : {"token_embd.weight", "output.weight"}) add_tensor(gguf, matrix, {4, 8});
  for (const char* norm : {"output_norm.weight", "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight"})
    add_tensor(gguf, norm, {4});
  add_tensor(gguf, "blk.0.attn_qkv.weight", {4, 8});
  add_tensor(gguf, "blk.0.attn_qkv.bias", {8});
  add_tensor(gguf, "blk.0.attn_output.weight", {4, 4});
  add_tensor(gguf, "blk.0.ffn_gate_inp.weight", {4, 2});
  for (int expert = 0; expert < 2; ++expert) {
    add_tensor(gguf, fmt::format("blk.0.ffn_gate.{}.weight", expert), {4, 2}, 100.0f * static_cast<float>(expert));
    add_tensor(gguf, fmt::format("blk.0.ffn_up.{}.weight", expert), {4, 2}, 1000.0f);
    add_tensor(gguf, fmt::format("blk.0.ffn_down.{}.weight", expert), {expert == 1 ? width_of_last : 2, 4});
  }
}

TEST_CASE("GGUF files may have one tensor for queries, keys and values, and one for each expert") {
  TinyGguf gguf = old_mixtral();
  add_mixtral_tensors(gguf, 2);
  const TempDir dir;
  gguf.write(dir.path() / "model.gguf");
  const auto source = open_weights(dir.path() / "model.gguf", {}, kUnheard);
  CHECK(source->unused().empty());
  CHECK(row_of(*source, "blk.0.attn_q.weight", 0, 3)[0] == 12);
  CHECK(row_of(*source, "blk.0.attn_k.weight", 0, 1)[0] == 20);
  CHECK(row_of(*source, "blk.0.attn_v.weight", 0, 0)[3] == 27);
  CHECK(row_of(*source, "blk.0.attn_q.bias", 0, 0) == std::vector<float>{0, 1, 2, 3});
  CHECK(row_of(*source, "blk.0.attn_v.bias", 0, 0) == std::vector<float>{6, 7});
  CHECK(row_of(*source, "blk.0.ffn_gate_exps.weight", 1, 1)[2] == 106);
  CHECK(row_of(*source, "blk.0.ffn_down_exps.weight", 1, 3)[1] == 7);
  CHECK(source->find("blk.0.ffn_up_exps.weight")->n_slices == 2);

  TinyGguf uneven = old_mixtral();
  add_mixtral_tensors(uneven, 3);
  uneven.write(dir.path() / "uneven.gguf");
  CHECK(error_of([&] {
          open_weights(dir.path() / "uneven.gguf", {}, kUnheard);
        }).find("blk.0.ffn_down.0.weight and blk.0.ffn_down.1.weight differ") != std::string::npos);
}

TEST_CASE("factors of Llama's frequencies are read from a file, and must be as many as pairs") {
  for (const std::int64_t n : {1, 2}) {
    TinyGguf gguf = old_mixtral();
    add_mixtral_tensors(gguf, 2);
    add_tensor(gguf, "rope_freqs.weight", {n}, 2);
    const TempDir dir;
    gguf.write(dir.path() / "model.gguf");
    if (n == 2) {
      CHECK(error_of([&] {
              open_weights(dir.path() / "model.gguf", {}, kUnheard);
            }).find("has 2 values of type F32, the model turns 1 pairs") != std::string::npos);
      continue;
    }
    const auto source = open_weights(dir.path() / "model.gguf", {}, kUnheard);
    CHECK(source->config().rope.factors == std::vector<double>{2.0});
    CHECK(source->find("rope_freqs.weight") != nullptr);
  }
}

}  // namespace
