// The forms of latent attention: prompt rows decompress keys and values, generated rows stay in the latent space.
#include <doctest/doctest.h>

#include "tests/runtime/exec/exec_fixture.hpp"
#include "tests/runtime/exec/naive_mla.hpp"
#include "tests/support/memory_source.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime::exec;
using quant::DType;

TEST_CASE("prompt rows: no bit depends on threads, micro-batch or companions") {
  LoadedDemo demo({});
  const auto vocab = static_cast<int>(demo.model->config().vocab_size);
  const std::vector<int> ids = some_ids(300, vocab);
  for (const DType dtype : {DType::kF16, DType::kQ8_0, DType::kI8}) {
    Executor whole(*demo.model, demo.team, {.n_positions = 1024, .n_sequences = 2, .cache_type = dtype});
    const std::vector<float> want = logits_of(whole, prompt_of(ids));
    cpu::Team three(3);
    CHECK(same_bits(want, logits_of(whole, prompt_of(ids), &three)));
    Executor cut(*demo.model, demo.team, {.n_positions = 1024, .micro_batch = 37, .cache_type = dtype});
    CHECK(same_bits(want, logits_of(cut, prompt_of(ids))));

    // In two calls, each with a generated row of another sequence in front of it.
    ForwardOutput out;
    std::vector<float> together;
    whole.cache().truncate(0, 0);
    for (int part = 0; part < 2; ++part) {
      std::vector<Row> rows = rows_of({ids[static_cast<std::size_t>(part)]}, 1, part);
      const std::vector<int> half(ids.begin() + part * 150, ids.begin() + part * 150 + 150);
      for (const Row& row : prompt_of(half, 0, part * 150)) rows.push_back(row);
      whole.forward(rows, out);
      together.insert(together.end(), out.logits.begin() + vocab, out.logits.end());
    }
    CHECK(same_bits(want, together));
  }
}

TEST_CASE("both forms are the attention of the paper, as close as their numbers allow") {
  LoadedDemo demo({.compute_f32 = true});
  const std::vector<int> ids = some_ids(240, static_cast<int>(demo.model->config().vocab_size));
  Executor naive(*demo.model, demo.team, naive_attention(*demo.model, 512));
  const std::vector<float> want = logits_of(naive, rows_of(ids));
  const std::int64_t width = demo.model->config().kv_lora_rank + demo.model->config().qk_rope_head_dim;
  for (const auto& [dtype, most] : {std::pair{DType::kF16, 1.25}, {DType::kQ8_0, 1.1}}) {
    // What the cache's own rounding does to attention in float; whole numbers may add little.
    Executor floats(*demo.model, demo.team, {.n_positions = 512, .cache_type = dtype, .integer_attention = false});
    CHECK(floats.cache().format(0).row_bytes == quant::row_bytes(dtype, width));
    const std::vector<float> rounded = logits_of(floats, rows_of(ids));
    const double rounding = mean_difference(rounded, want, ids);
    Executor executor(*demo.model, demo.team, {.n_positions = 512, .cache_type = dtype});
    for (const bool prompt : {false, true}) {
      const std::vector<float> got = logits_of(executor, prompt ? prompt_of(ids) : rows_of(ids));
      const double mean = mean_difference(got, want, ids);
      MESSAGE(quant::name_of(dtype), prompt ? " decompressed" : " absorbed", ": mean difference of a log-probability ",
              mean, ", of the rounding alone ", rounding);
      CHECK(rounding > 0);
      CHECK(mean < most * rounding);
      CHECK_FALSE(same_bits(got, rounded));  // the option chooses another route
    }
  }
}

TEST_CASE("values may be wider than the latent space, and keys as well") {
  for (const auto& [nope, value] : {std::pair{32, 192}, std::pair{192, 32}}) {
    runtime::ModelConfig c = small_mla_config();
    c.n_heads = 3;
    c.hidden_size = 320;  // rows of more than one block, here and of q_a
    c.q_lora_rank = 448;
    c.kv_lora_rank = 32;
    c.qk_nope_head_dim = nope;
    c.v_head_dim = value;
    const MemorySource source(c, 5);
    cpu::Team team(2);
    const auto model = load_model(source, team, {.compute_f32 = true});
    const std::vector<int> ids = some_ids(150, 64);
    Executor naive(*model, team, naive_attention(*model, 256));
    const std::vector<float> want = logits_of(naive, rows_of(ids));
    Executor executor(*model, team, {.n_positions = 256, .cache_type = DType::kF16});
    CHECK(mean_difference(logits_of(executor, rows_of(ids)), want, ids) < 0.002);
    CHECK(mean_difference(logits_of(executor, prompt_of(ids)), want, ids) < 0.002);
  }
}

TEST_CASE("a cache's last block, which is fuller than what was asked for, has room for the chunks of eight rows") {
  const MemorySource source(small_mla_config(), 5);
  cpu::Team team(2);
  const auto model = load_model(source, team, {});
  for (const std::int64_t n_positions : {60, 65, 100, 127, 129}) {
    Executor few(*model, team, {.n_positions = n_positions}), many(*model, team, {.n_positions = n_positions});
    const std::int64_t capacity = few.cache().capacity();
    CHECK(capacity > n_positions);
    const std::vector<int> ids = some_ids(static_cast<int>(capacity), 64);
    const std::vector<float> want = logits_of(many, rows_of(ids));
    std::vector<float> got;
    ForwardOutput out;
    for (std::int64_t begin = 0; begin < capacity; begin += 8) {
      few.forward(rows_of({ids.begin() + begin, ids.begin() + begin + 8}, 0, static_cast<std::int32_t>(begin)), out);
      got.insert(got.end(), out.logits.begin(), out.logits.end());
    }
    CHECK(same_bits(got, want));
  }
}

TEST_CASE("an f16 cache that cuts latents down says so, once, with the layer") {
  runtime::ModelConfig c = small_mla_config();
  MemorySource source(c, 7);
  // The norm of the latents multiplies them; layer 1 alone gets too large.
  for (float& v : source.values("blk.1.attn_kv_a_norm.weight")) v *= 1e6f;
  cpu::Team team(2);
  const auto model = load_model(source, team, {.compute_f32 = true});
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    Executor executor(*model, team, {.n_positions = 64, .cache_type = dtype});
    std::vector<std::string> said;
    executor.set_log([&](runtime::Level level, std::string_view line) {
      CHECK(level == runtime::Level::kWarning);
      said.emplace_back(line);
    });
    for (int i = 0; i < 2; ++i) logits_of(executor, some_ids(5, static_cast<int>(c.vocab_size)));
    REQUIRE(said.size() == (dtype == DType::kF16 ? 1 : 0));
    if (!said.empty()) CHECK(said[0].find("layer 1:") == 0);
  }
}

}  // namespace
