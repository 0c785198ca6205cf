// Grouped-query attention with every optional part: in float32 it is what its definition says in double; in integers it
// adds little to what the cache's types round; no bit depends on threads, micro-batch, companions, cuts or history.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <sstream>

#include "tests/runtime/exec/exec_fixture.hpp"
#include "tests/runtime/exec/naive_gqa.hpp"
#include "tests/support/compare.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime::exec;
using quant::DType;

constexpr int kVocab = 48;

// In steps of so many rows, in turn.
std::vector<float> in_steps(Executor& executor, const std::vector<int>& ids, const std::vector<std::size_t>& steps,
                            cpu::Team* team = nullptr) {
  executor.cache().truncate(0, 0);
  std::vector<float> logits;
  ForwardOutput out;
  for (std::size_t begin = 0, s = 0; begin < ids.size(); ++s) {
    const std::size_t end = std::min(ids.size(), begin + steps[s % steps.size()]);
    executor.forward(
        rows_of({ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end)}, 0,
                static_cast<std::int32_t>(begin)),
        out, team);
    logits.insert(logits.end(), out.logits.begin(), out.logits.end());
    begin = end;
  }
  return logits;
}

struct CacheTypes {
  DType keys, values;
};
const std::vector<CacheTypes> kSomeTypes = {{DType::kF16, DType::kF16}, {DType::kQ8_0, DType::kF16},
                                            {DType::kBF16, DType::kI8}, {DType::kI8, DType::kI8},
                                            {DType::kI8, DType::kQ8_0}, {DType::kF32, DType::kF16}};

bool fits(const runtime::ModelConfig& c, const CacheTypes& types) {
  return c.head_dim % 32 == 0 || (types.keys != DType::kQ8_0 && types.values != DType::kQ8_0);
}

ExecutorOptions options_of(const CacheTypes& types, std::int64_t micro_batch = 512) {
  return {.n_positions = 1024,
          .n_sequences = 3,
          .micro_batch = micro_batch,
          .cache_type = types.keys,
          .value_cache_type = types.values};
}

TEST_CASE("grouped queries in float32 are what their definition says") {
  std::mt19937 rng(11);
  cpu::Team team(2);
  for (int trial = 0; trial < 16; ++trial) {
    const runtime::ModelConfig c = random_gqa_config(rng);
    CAPTURE(text_of(c));
    const MemorySource source(c, static_cast<unsigned>(trial + 1));
    const std::vector<int> ids = some_ids(static_cast<int>(90 + rng() % 50), kVocab, trial);
    const std::vector<float> want = NaiveGqa(source).logits(ids);
    const double scale =
        std::max<double>(1.0, std::abs(*std::ranges::max_element(want, {}, [](float x) { return std::abs(x); })));
    const auto model = load_model(source, team, {.compute_f32 = true});
    Executor executor(*model, team, options_of({DType::kF32, DType::kF32}));
    // Float32 sums of some hundred terms behind each other, through two layers.
    for (const std::vector<float>& got :
         {logits_of(executor, ids), in_steps(executor, ids, {1, 3, 8, 2}), logits_of(executor, prompt_of(ids))}) {
      const Comparison result = compare(got, want, {.abs = 2e-4 * scale});
      CHECK_MESSAGE(result.ok, result.report);
    }
    // In integers, as close as the types allow: twice what was measured.
    for (const CacheTypes& types : kSomeTypes) {
      if (!fits(c, types)) continue;
      Executor integers(*model, team, options_of(types));
      const bool bytes = types.keys == DType::kI8 || types.values == DType::kI8;
      for (const bool prompt : {false, true}) {
        const Comparison result = compare(logits_of(integers, prompt ? prompt_of(ids) : rows_of(ids)), want,
                                          {.abs = (bytes ? 0.2 : 0.1) * scale, .nmse = bytes ? 4e-3 : 1e-3});
        CHECK_MESSAGE(result.ok, quant::name_of(types.keys), " ", quant::name_of(types.values),
                      prompt ? " prompt: " : ": ", result.report);
      }
    }
  }
}

// Prompts load chunks of 256 positions, and leave out those in front of every row's window.
TEST_CASE("grouped queries: windows over many chunks of the context are what their definition says") {
  cpu::Team team(2);
  std::mt19937 rng(1);
  runtime::ModelConfig c = random_gqa_config(rng);
  c.hidden_size = 48;
  c.n_kv_heads = 2;
  c.n_heads = 6;
  c.head_dim = c.rope.dim = 32;
  c.rope.factors.clear();
  c.attention_sinks = true;
  c.context_length = 1024;
  for (const auto& [first, second] : {std::pair{33, 0}, {300, 100}}) {
    c.layers[0].window = first;
    c.layers[1].window = second;
    CAPTURE(text_of(c));
    const MemorySource source(c, 3);
    const std::vector<int> ids = some_ids(900, kVocab);
    const std::vector<float> want = NaiveGqa(source).logits(ids);
    const auto model = load_model(source, team);
    for (const CacheTypes& types : {CacheTypes{DType::kF32, DType::kF32}, {DType::kF16, DType::kF16}}) {
      Executor executor(*model, team, options_of(types, 200));
      const double limit = types.keys == DType::kF32 ? 1e-6 : 3e-4;  // f16 rounds to 2.4e-4 at most
      for (const std::vector<float>& got :
           {logits_of(executor, prompt_of(ids)), in_steps(executor, ids, {1, 3, 8, 2, 300})}) {
        CHECK(difference(got, want) < limit);
      }
    }
  }
}

TEST_CASE("grouped queries: no bit depends on threads, micro-batch, companions or steps") {
  std::mt19937 rng(5);
  cpu::Team one(1), two(2), five(5);
  for (cpu::Team* team : {&two, &five}) team->set_idle_spin(std::chrono::microseconds(0));  // more than processors
  for (int trial = 0; trial < 8; ++trial) {
    const runtime::ModelConfig c = random_gqa_config(rng);
    CAPTURE(text_of(c));
    const MemorySource source(c, static_cast<unsigned>(trial + 1));
    const auto model = load_model(source, two);
    const std::vector<int> ids = some_ids(300, kVocab, trial);
    for (const CacheTypes& types : {kSomeTypes[static_cast<std::size_t>(trial) % kSomeTypes.size()], kSomeTypes[0]}) {
      if (!fits(c, types)) continue;
      Executor whole(*model, two, options_of(types)), cut(*model, two, options_of(types, 37));
      const std::vector<float> want = logits_of(whole, ids), prompt = logits_of(whole, prompt_of(ids));
      CHECK(same_bits(logits_of(cut, ids), want));
      CHECK(same_bits(logits_of(whole, rows_of(ids), &five), want));
      CHECK(same_bits(in_steps(whole, ids, {1, 8, 3, 5, 2, 30}, &one), want));
      CHECK(same_bits(in_steps(cut, ids, {7, 1, 4}, &five), want));
      CHECK(same_bits(logits_of(cut, prompt_of(ids)), prompt));
      CHECK(same_bits(logits_of(whole, prompt_of(ids), &five), prompt));
      // A prompt's rows, each beside a generated one of another sequence.
      whole.cache().truncate(0, 0);
      std::vector<float> mixed;
      ForwardOutput out;
      const std::vector<Row> rows = prompt_of(ids);
      for (std::size_t begin = 0, i = 0; begin < rows.size(); begin += 50, ++i) {
        std::vector<Row> pass = {{.token = 3, .position = static_cast<std::int32_t>(i), .sequence = 1}};
        pass.insert(pass.end(), rows.begin() + static_cast<std::ptrdiff_t>(begin),
                    rows.begin() + static_cast<std::ptrdiff_t>(begin + 50));
        whole.forward(pass, out);
        mixed.insert(mixed.end(), out.logits.begin(), out.logits.end());
      }
      CHECK(same_bits(mixed, prompt));
    }
  }
}

TEST_CASE("grouped queries: every level gives the same bits") {
  std::mt19937 rng(8);
  cpu::Team team(2);
  for (int trial = 0; trial < 8; ++trial) {
    const runtime::ModelConfig c = random_gqa_config(rng);
    CAPTURE(text_of(c));
    const MemorySource source(c, static_cast<unsigned>(trial + 1));
    const std::vector<int> ids = some_ids(150, kVocab, trial);
    for (const CacheTypes& types : {kSomeTypes[static_cast<std::size_t>(trial) % kSomeTypes.size()], kSomeTypes[3]}) {
      if (!fits(c, types)) continue;
      std::vector<float> want;
      for (const cpu::Isa isa : cpu::built_isas()) {
        if (!cpu::detected_isa().has(isa)) continue;
        const auto model = load_model(source, team, {.isa = isa});
        Executor executor(*model, team, options_of(types));
        std::vector<float> got = in_steps(executor, ids, {1, 60, 4});
        const std::vector<float> prompt = logits_of(executor, prompt_of(ids));
        got.insert(got.end(), prompt.begin(), prompt.end());
        if (want.empty()) want = got;
        CHECK_MESSAGE(same_bits(got, want), cpu::name_of(isa));
      }
    }
  }
}

TEST_CASE("grouped queries: the cache forks, truncates, saves and restores without changing a bit, in any types") {
  std::mt19937 rng(3);
  cpu::Team team(2);
  for (int trial = 0; trial < 6; ++trial) {
    const runtime::ModelConfig c = random_gqa_config(rng);
    CAPTURE(text_of(c));
    const MemorySource source(c, static_cast<unsigned>(trial + 1));
    const auto model = load_model(source, team);
    const std::vector<int> ids = some_ids(150, kVocab, trial), tail(ids.begin() + 100, ids.end());
    for (const CacheTypes& types : kSomeTypes) {
      if (!fits(c, types)) continue;
      Executor executor(*model, team, options_of(types));
      const std::vector<float> all = logits_of(executor, ids), expected(all.begin() + 100 * kVocab, all.end());
      ForwardOutput out;
      executor.cache().fork(0, 1, 100);
      executor.forward(rows_of(tail, 1, 100), out);
      CHECK(same_bits(expected, out.logits));
      std::stringstream file;
      executor.cache().truncate(1, 100);
      executor.cache().save(1, file);
      const std::string saved = file.str();
      executor.cache().restore(2, file);
      executor.cache().truncate(0, 0);
      executor.cache().truncate(1, 0);
      executor.forward(rows_of(tail, 2, 100), out);
      CHECK(same_bits(expected, out.logits));
      // Another type is refused, on either side.
      for (const CacheTypes& other : {CacheTypes{types.keys, DType::kBF16}, {DType::kF32, types.values}}) {
        Executor elsewhere(*model, team, options_of(other));
        std::stringstream again(saved);
        if (other.keys == types.keys && other.values == types.values) continue;
        CHECK_THROWS_AS(elsewhere.cache().restore(0, again), runtime::Error);
      }
    }
  }
}

TEST_CASE("latent attention refuses a cache of two types") {
  const MemorySource source(small_mla_config(), 5);
  cpu::Team team(1);
  const auto model = load_model(source, team);
  CHECK_THROWS_AS(Executor(*model, team, options_of({DType::kF16, DType::kQ8_0})), runtime::Error);
}

}  // namespace
