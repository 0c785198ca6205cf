// What a cache type costs beyond its own rounding, on random models of many shapes: whole-number attention over rounded
// rows against float attention over the same rows. Trained models hide such errors; random ones do not.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <tuple>

#include "tests/runtime/exec/exec_fixture.hpp"
#include "tests/support/memory_source.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime::exec;
using quant::DType;

struct Shape {
  const char* name;
  std::int64_t hidden, heads, latent, rope, nope, value, q_lora;
};

// Head sizes of DeepSeek-V3 and Kimi-K2, of GLM-5, of V2-Lite, and odd ones.
constexpr Shape kShapes[] = {
    {"v3", 128, 4, 512, 64, 128, 128, 64},      {"glm-5", 128, 3, 512, 64, 192, 256, 48},
    {"v2-lite", 96, 4, 512, 64, 128, 128, 0},   {"many heads", 64, 16, 128, 32, 32, 32, 48},
    {"wide", 256, 8, 256, 64, 64, 64, 96},      {"narrow latent", 136, 5, 64, 32, 96, 80, 40},
    {"one head", 72, 1, 160, 64, 160, 112, 0},  {"odd latent", 104, 6, 288, 96, 64, 48, 56},
    {"small heads", 80, 8, 96, 32, 32, 16, 32},
};

runtime::ModelConfig config_of(const Shape& shape) {
  runtime::ModelConfig c = small_mla_config();
  c.hidden_size = shape.hidden;
  c.n_heads = shape.heads;
  c.kv_lora_rank = shape.latent;
  c.qk_rope_head_dim = shape.rope;
  c.rope.dim = shape.rope;
  c.qk_nope_head_dim = shape.nope;
  c.v_head_dim = shape.value;
  c.q_lora_rank = shape.q_lora;
  return c;
}

struct Quantiles {
  double median, most;  // 50 and 99 %
};

// Of |difference| of every log-probability of every row.
Quantiles quantiles(const std::vector<float>& got, const std::vector<float>& want, std::size_t vocab) {
  std::vector<double> differences;
  for (std::size_t row = 0; row * vocab < got.size(); ++row) {
    for (std::size_t token = 0; token < vocab; ++token)
      differences.push_back(std::abs(log_prob(got, vocab, row, token) - log_prob(want, vocab, row, token)));
  }
  std::sort(differences.begin(), differences.end());
  return {differences[differences.size() / 2], differences[differences.size() * 99 / 100]};
}

TEST_CASE("a cache's error is that of its rounding, whatever the shape of the model") {
  cpu::Team team(2);
  for (const Shape& shape : kShapes) {
    const runtime::ModelConfig c = config_of(shape);
    const MemorySource source(c, 11);
    const auto model = load_model(source, team, {.compute_f32 = false});
    const auto vocab = static_cast<std::size_t>(c.vocab_size);
    const std::vector<int> ids = some_ids(330, static_cast<int>(vocab));
    Executor exact(*model, team, {.n_positions = 512, .cache_type = DType::kF32});
    const std::vector<float> want = logits_of(exact, rows_of(ids));
    // Bytes with one scale per row and products of bytes are made for speed: held against the rounding of q8_0.
    for (const auto& [dtype, rounded, most] : {std::tuple{DType::kF16, DType::kF16, 1.25},
                                               {DType::kQ8_0, DType::kQ8_0, 1.1},
                                               {DType::kI8, DType::kQ8_0, 4.0}}) {
      Executor floats(*model, team, {.n_positions = 512, .cache_type = rounded, .integer_attention = false});
      const Quantiles rounding = quantiles(logits_of(floats, rows_of(ids)), want, vocab);
      Executor executor(*model, team, {.n_positions = 512, .cache_type = dtype});
      for (const bool prompt : {false, true}) {
        const Quantiles got = quantiles(logits_of(executor, prompt ? prompt_of(ids) : rows_of(ids)), want, vocab);
        MESSAGE(std::string(shape.name), " ", std::string(quant::name_of(dtype)),
                std::string(prompt ? " decompressed" : " absorbed"), ": median ", got.median, " = ",
                got.median / rounding.median, " times rounding's, 99 % ", got.most, " = ", got.most / rounding.most,
                " times");
        CHECK(rounding.median > 0);
        CHECK(got.median <= most * rounding.median);
        CHECK(got.most <= most * rounding.most);
      }
    }
  }
}

}  // namespace
