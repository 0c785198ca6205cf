// A model in P parts computes what the whole one does, but for the order of the partial sums: every kind of block, any
// number of parts, uneven shares, quantized weights, the widths of DeepSeek-V3 and of V2-Lite.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <sstream>

#include "tests/runtime/exec/exec_fixture.hpp"
#include "tests/runtime/exec/random_slice.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/memory_source.hpp"
#include "tests/support/small_gqa_config.hpp"

namespace dodeca::runtime::exec {
namespace {

using namespace tests;
using quant::DType;

std::vector<float> logits_with(const WeightSource& source, cpu::Team& team, const PlanOptions& options,
                               const std::vector<int>& ids) {
  const auto model = load_model(source, team, options);
  Executor executor(*model, team,
                    {.n_positions = 128, .cache_type = DType::kF32, .integer_attention = !options.compute_f32});
  return logits_of(executor, ids);
}

}  // namespace

TEST_CASE("V3-wide and V2-Lite-wide quantized models in 2, 3, 4 and 8 parts") {
  for (const char* shape : {"deepseek-v3", "deepseek-v2-lite"}) {
    const ModelConfig c = slice_of(shape);
    const auto source = random_slice(c);
    cpu::Team team(2);
    const std::vector<int> ids = some_ids(16, static_cast<int>(c.vocab_size));
    const std::vector<float> want = logits_with(*source, team, {}, ids),
                             exact = logits_with(*source, team, {.compute_f32 = true}, ids);
    const double rounding = difference(want, exact);  // of activations to 8 bits, everywhere
    for (const Shares& shares : {equal_shares(2), equal_shares(3), equal_shares(4), equal_shares(8), {3.0, 1.0, 2.0}}) {
      // Activations that are not rounded differ by the order of float32 sums alone: 2^-24 for each of some hundred
      // thousand operations behind each other at most, of random sign.
      CHECK(difference(logits_with(*source, team, {.compute_f32 = true, .shares = shares}, ids), exact) < 1e-4);
      // Rounded ones may come to lie on the other side of a boundary. Then two roundings of the same values are compared:
      // each is off by `rounding`, so their difference is sqrt(2) of it where they have nothing in common.
      const double parts = difference(logits_with(*source, team, {.shares = shares}, ids), want);
      CHECK(parts > 0);  // they are cut
      CHECK_MESSAGE(parts < std::sqrt(2.0) * rounding, std::string(shape), ", ", shares.size(), " parts: ", parts,
                    ", rounding ", rounding);
      MESSAGE(std::string(shape), ", ", shares.size(), " parts: ", parts, ", rounding ", rounding);
    }
    const auto whole = load_model(*source, team), cut = load_model(*source, team, {.shares = equal_shares(3)});
    CHECK(cut->contents() == whole->contents());
  }
}

TEST_CASE("weights in pieces: the same bits for one row and many, and for any team") {
  for (const char* shape : {"deepseek-v3", "deepseek-v2-lite"}) {
    const ModelConfig c = slice_of(shape);
    const auto source = random_slice(c);
    cpu::Team one(1), two(2), five(5), twenty(20);
    for (const Shares& shares : {equal_shares(1), equal_shares(2), equal_shares(16), {3.0, 1.0, 2.0}}) {
      const auto model = load_model(*source, two, {.shares = shares});
      std::size_t n_pieced = 0;
      for (const WeightPlan& w : model->plan().weights) n_pieced += w.piece_columns > 0 && w.piece_columns < w.n_in;
      CHECK(n_pieced >= 8);
      const std::vector<int> ids = some_ids(21, static_cast<int>(c.vocab_size));
      Executor executor(*model, two, {.n_positions = 128});
      const std::vector<float> want = logits_of(executor, rows_of(ids));  // many
      for (cpu::Team* team : {&one, &five, &twenty}) CHECK(same_bits(logits_of(executor, rows_of(ids), team), want));
      for (const std::size_t at_once : {1u, 3u, 8u}) {
        executor.cache().truncate(0, 0);
        std::vector<float> got;
        ForwardOutput out;
        for (std::size_t begin = 0; begin < ids.size(); begin += at_once) {
          const std::size_t end = std::min(ids.size(), begin + at_once);
          executor.forward(rows_of({ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                    ids.begin() + static_cast<std::ptrdiff_t>(end)},
                                   0, static_cast<std::int32_t>(begin)),
                           out,
                           begin % 3 == 0   ? &two
                           : begin % 3 == 1 ? &five
                                            : &one);
          got.insert(got.end(), out.logits.begin(), out.logits.end());
        }
        CHECK(same_bits(got, want));
      }
    }
  }
}

TEST_CASE("a part that has whole experts alone adds nothing for rows that chose none of them") {
  LoadedDemo demo({.shares = {3.0, 1.0, 2.0}});
  Executor executor(*demo.model, demo.team, {.n_positions = 64});
  const std::vector<int> ids = some_ids(24, 4096);
  const std::vector<float> want = logits_of(executor, ids);
  executor.cache().truncate(0, 0);
  std::vector<float> got;
  ForwardOutput out;
  for (std::int32_t i = 0; i < std::ssize(ids); ++i) {
    executor.forward(rows_of({ids[static_cast<std::size_t>(i)]}, 0, i), out);
    got.insert(got.end(), out.logits.begin(), out.logits.end());
  }
  CHECK(same_bits(got, want));
}

TEST_CASE("in float32 nothing but the order of sums differs, whatever the shares") {
  ModelConfig c = small_mla_config(1, 1);
  c.n_heads = 6;
  c.n_shared_experts = 1;
  c.attention_bias = true;
  const MemorySource source(c, 11);
  cpu::Team team(3);
  const auto whole = load_model(source, team);
  Executor executor(*whole, team, {.n_positions = 128, .cache_type = DType::kF32});
  const std::vector<float> want = logits_of(executor, some_ids(40, 64));
  for (const Shares& shares : {equal_shares(2), equal_shares(3), equal_shares(5), equal_shares(16), {1.0, 4.0}}) {
    const auto parts = load_model(source, team, {.shares = shares});
    Executor cut(*parts, team, {.n_positions = 128, .cache_type = DType::kF32});
    CHECK(difference(logits_of(cut, some_ids(40, 64)), want) < 1e-4);
    CHECK(difference(logits_of(cut, prompt_of(some_ids(40, 64))), want) < 1e-4);
  }
}

TEST_CASE("grouped queries in parts: nothing but the order of sums differs, and copies of the cache stay equal") {
  for (const QkNorm norm : {QkNorm::kPerHead, QkNorm::kWhole}) {
    const MemorySource source(small_gqa_config(norm), 11);
    cpu::Team team(3);
    const std::vector<int> ids = some_ids(90, 64);
    const auto whole = load_model(source, team, {.compute_f32 = true});
    Executor executor(*whole, team, {.n_positions = 128, .cache_type = DType::kF32});
    const std::vector<float> want = logits_of(executor, ids);
    for (const Shares& shares : {equal_shares(2), equal_shares(3), equal_shares(16), {1.0, 4.0}}) {
      const auto parts = load_model(source, team, {.compute_f32 = true, .shares = shares});
      Executor cut(*parts, team, {.n_positions = 128, .cache_type = DType::kF32});
      CHECK(difference(logits_of(cut, ids), want) < 1e-4);
      for (const DType type : {DType::kF16, DType::kI8}) {
        ExecutorOptions options{.n_positions = 256, .cache_type = type};
        Executor one(*parts, team, options);
        options.cache_copies.assign(shares.size(), {});
        Executor copies(*parts, team, options);
        CHECK(same_bits(logits_of(copies, ids), logits_of(one, ids)));
        CHECK(same_bits(logits_of(copies, prompt_of(ids)), logits_of(one, prompt_of(ids))));
      }
    }
  }
}

TEST_CASE("every part reads its own copy of the cache, and copies stay equal") {
  ModelConfig c = small_mla_config(1, 1);
  c.n_heads = 32;  // strips of heads for both parts
  const MemorySource source(c, 11);
  cpu::Team team(3);
  const auto model = load_model(source, team, {.shares = equal_shares(2)});
  const std::vector<int> ids = some_ids(90, 64);
  for (const DType type : {DType::kF16, DType::kF32}) {
    ExecutorOptions options{.n_positions = 256, .n_sequences = 2, .cache_type = type};
    Executor one(*model, team, options);
    options.cache_copies = {{}, {}};
    Executor two(*model, team, options);
    CHECK(KvCache::bytes_needed(c, options.cache_options(model->plan())) ==
          2 * KvCache::bytes_needed(
                  c, ExecutorOptions{.n_positions = 256, .n_sequences = 2, .cache_type = type}.cache_options(
                         model->plan())));
    std::vector<float> results[2];
    for (const bool copies : {false, true}) {
      Executor& executor = copies ? two : one;
      std::vector<float>& got = results[copies];
      got = logits_of(executor, prompt_of({ids.begin(), ids.begin() + 70}));
      // Forked in the middle of a block, which is copied when it is written, saved and restored.
      executor.cache().fork(0, 1, 67);
      std::stringstream saved;
      executor.cache().save(1, saved);
      executor.cache().restore(1, saved);
      ForwardOutput out;
      for (int i = 67; i < 90; ++i) {
        executor.forward(rows_of({ids[static_cast<std::size_t>(i)]}, 1, i), out);
        got.insert(got.end(), out.logits.begin(), out.logits.end());
      }
      for (std::int64_t position = 0; copies && position < 90; position += 64) {
        const std::byte* first = executor.cache().block(0, 1, position, 0);
        const std::byte* second = executor.cache().block(0, 1, position, 1);
        CHECK(first != second);
        const auto rows = static_cast<std::size_t>(std::min<std::int64_t>(64, 90 - position));
        CHECK(std::memcmp(first, second, rows * executor.cache().format(0).row_bytes) == 0);
      }
    }
    CHECK(same_bits(results[0], results[1]));
  }
}

}  // namespace dodeca::runtime::exec
