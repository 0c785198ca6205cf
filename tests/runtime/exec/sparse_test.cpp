// Sparse attention: what is chosen depends on a row's own sequence alone, whoever computes it beside whom, and as long
// as everything is chosen it is dense attention to the last bit. That the choice is the published models' is for
// tests/peer/hf_reference.py.
#include <doctest/doctest.h>

#include <sstream>

#include "tests/runtime/exec/exec_fixture.hpp"
#include "tests/support/memory_source.hpp"

namespace dodeca::runtime::exec {
namespace {

using namespace tests;
using quant::DType;

constexpr int kTokens = 90, kVocab = 64;

ModelConfig sparse_config(std::int64_t top_k) {
  ModelConfig c = small_mla_config(2, 2);
  c.layers[1].has_indexer = c.layers[3].has_indexer = false;
  c.indexer = {.n_heads = 5, .head_dim = 32, .top_k = top_k};
  return c;
}

// The same weights, and no indexer.
MemorySource without_indexer(const MemorySource& source) {
  ModelConfig c = source.config();
  c.indexer = {};
  MemorySource dense(c, 1);
  for (const auto* weights : {&dense.weights(), &dense.mtp_weights()}) {
    for (const WeightInfo& weight : *weights) dense.values(weight.name) = source.values(weight.name);
  }
  return dense;
}

ExecutorOptions run_options(const PlanOptions& planned, DType type, std::int64_t micro_batch = 512) {
  return {.n_positions = 256,
          .n_sequences = 3,
          .micro_batch = micro_batch,
          .cache_type = type,
          .integer_attention = !planned.compute_f32};
}

// Some tokens of a sequence, `at_once` rows in a call.
std::vector<float> generated(Executor& executor, const std::vector<int>& ids, int at_once, std::int32_t sequence = 0,
                             int begin = 0, cpu::Team* team = nullptr) {
  std::vector<float> logits;
  ForwardOutput out;
  for (int i = begin; i < std::ssize(ids); i += at_once) {
    const int end = std::min(static_cast<int>(ids.size()), i + at_once);
    executor.forward(rows_of({ids.begin() + i, ids.begin() + end}, sequence, i), out, team);
    logits.insert(logits.end(), out.logits.begin(), out.logits.end());
  }
  return logits;
}

struct Route {
  PlanOptions planned;
  DType type;
};
const Route kRoutes[] = {{{}, DType::kF16}, {{}, DType::kI8}, {{.compute_f32 = true}, DType::kF32}};

}  // namespace

TEST_CASE("up to the number of chosen positions, sparse attention has the bits of dense attention") {
  const MemorySource source(sparse_config(kTokens), 3), beyond(sparse_config(kTokens - 1), 3);
  const MemorySource dense = without_indexer(source);
  cpu::Team team(2);
  const std::vector<int> ids = some_ids(kTokens, kVocab);
  for (const Route& route : kRoutes) {
    const auto sparse_model = load_model(source, team, route.planned),
               dense_model = load_model(dense, team, route.planned),
               beyond_model = load_model(beyond, team, route.planned);
    Executor sparse(*sparse_model, team, run_options(route.planned, route.type)),
        whole(*dense_model, team, run_options(route.planned, route.type)),
        cut(*beyond_model, team, run_options(route.planned, route.type));
    for (const bool prompt : {false, true}) {
      const std::vector<Row> rows = prompt ? prompt_of(ids) : rows_of(ids);
      const std::vector<float> want = logits_of(whole, rows), got = logits_of(cut, rows);
      CHECK(same_bits(logits_of(sparse, rows), want));
      // One fewer, and the last row alone differs.
      CHECK(same_bits({got.begin(), got.end() - kVocab}, {want.begin(), want.end() - kVocab}));
      CHECK_FALSE(same_bits(got, want));
    }
  }
}

TEST_CASE("sparse rows have the same bits one by one, several at once, and for any team") {
  const MemorySource source(sparse_config(7), 5);
  cpu::Team one(1), two(2), five(5);
  const std::vector<int> ids = some_ids(kTokens, kVocab);
  for (const Route& route : kRoutes) {
    const auto model = load_model(source, two, route.planned);
    Executor executor(*model, two, run_options(route.planned, route.type));
    const std::vector<float> want = generated(executor, ids, 1);
    for (const int at_once : {2, 3, 8, 30, kTokens}) {
      for (cpu::Team* team : {&one, &five}) {
        executor.cache().truncate(0, 0);
        CHECK(same_bits(generated(executor, ids, at_once, 0, 0, team), want));
      }
    }
    executor.cache().truncate(0, 0);
    const std::vector<float> prompt = logits_of(executor, prompt_of(ids));
    for (const std::int64_t micro_batch : {1, 5, 64}) {
      Executor cut(*model, one, run_options(route.planned, route.type, micro_batch));
      CHECK(same_bits(logits_of(cut, prompt_of(ids)), prompt));
    }
  }
}

TEST_CASE("prompt rows beyond the masks gather what they chose, cut anywhere") {
  ModelConfig c = sparse_config(7);
  c.n_layers = 2;
  c.layers.resize(2);
  c.n_mtp_layers = 0;
  const MemorySource source(c, 5);
  cpu::Team one(1), two(2);
  constexpr int kMany = 850;  // masks reach to 768 positions
  const std::vector<int> ids = some_ids(kMany, kVocab);
  const auto rows = [&] {
    std::vector<Row> all = prompt_of(ids);
    for (int i = 0; i < kMany; ++i) all[i].wants_logits = i >= kMany - 100;
    return all;
  };
  for (const DType type : {DType::kF16, DType::kI8}) {
    const auto model = load_model(source, two, {});
    ExecutorOptions options = run_options({}, type);
    options.n_positions = 1024;
    Executor executor(*model, two, options);
    const std::vector<float> want = logits_of(executor, rows());
    for (const std::int64_t micro_batch : {64, 111}) {
      options.micro_batch = micro_batch;
      Executor cut(*model, one, options);
      CHECK(same_bits(logits_of(cut, rows()), want));
    }
  }
}

TEST_CASE("companions of other sequences change nothing") {
  const MemorySource source(sparse_config(6), 9);
  cpu::Team team(3);
  const auto model = load_model(source, team);
  Executor executor(*model, team, run_options({}, DType::kF16));
  const std::vector<int> ids = some_ids(40, kVocab), other = some_ids(40, kVocab, 2);
  const std::vector<float> want = generated(executor, ids, 1);
  executor.cache().truncate(0, 0);
  std::vector<float> got;
  ForwardOutput out;
  for (int i = 0; i < 40; ++i) {
    std::vector<Row> rows = rows_of({other[static_cast<std::size_t>(i)]}, 1, i);
    for (const Row& row : rows_of({ids[static_cast<std::size_t>(i)]}, 0, i)) rows.push_back(row);
    executor.forward(rows, out);
    got.insert(got.end(), out.logits.begin() + kVocab, out.logits.end());
  }
  CHECK(same_bits(got, want));
}

TEST_CASE("index keys are forked, cut off, saved and restored with the rows") {
  const MemorySource source(sparse_config(6), 7);
  cpu::Team team(2);
  for (const std::size_t copies : {1, 2}) {
    const auto model = load_model(source, team, {.shares = equal_shares(static_cast<int>(copies))});
    ExecutorOptions options = run_options({}, DType::kF16);
    options.cache_copies.resize(copies);
    Executor executor(*model, team, options);
    const std::vector<int> ids = some_ids(kTokens, kVocab);
    const std::vector<float> all = generated(executor, ids, 1);
    const std::vector<float> want(all.begin() + 67 * kVocab, all.end());
    executor.cache().fork(0, 1, 67);
    executor.cache().truncate(0, 3);
    CHECK(same_bits(generated(executor, ids, 1, 1, 67), want));
    executor.cache().truncate(1, 67);
    std::stringstream saved;
    executor.cache().save(1, saved);
    executor.cache().restore(2, saved);
    CHECK(same_bits(generated(executor, ids, 3, 2, 67), want));
    CHECK(executor.cache().position_bytes() ==
          4 * executor.cache().format(0).row_bytes + 2 * cpu::index_row_bytes(*executor.cache().format(0).index));

    const MemorySource dense = without_indexer(source);
    const auto dense_model = load_model(dense, team);
    Executor whole(*dense_model, team, run_options({}, DType::kF16));
    std::stringstream again(saved.str());
    CHECK_THROWS_WITH_AS(whole.cache().restore(0, again), doctest::Contains("another shape"), Error);
  }
}

TEST_CASE("a layer of multi-token prediction attends to everything") {
  ModelConfig c = sparse_config(6);
  c.n_mtp_layers = 1;
  const MemorySource source(c, 7);
  const MemorySource whole = without_indexer(source);
  cpu::Team team(2);
  const auto sparse_model = load_model(source, team, {.mtp = true}),
             dense_model = load_model(whole, team, {.mtp = true});
  Executor sparse(*sparse_model, team, run_options({}, DType::kF16)),
      dense(*dense_model, team, run_options({}, DType::kF16));
  const std::vector<int> ids = some_ids(40, kVocab);
  std::vector<Row> rows = rows_of(ids);
  for (Row& row : rows) row.wants_hidden = true;
  ForwardOutput out, drafts[2];
  dense.forward(rows, out);
  sparse.forward(rows, out);  // both draft from the same states
  const std::vector<float> hidden(out.hidden.begin(), out.hidden.end() - 128);
  const std::vector<Row> behind = rows_of({ids.begin() + 1, ids.end()});
  sparse.draft(behind, hidden, drafts[0]);
  dense.draft(behind, hidden, drafts[1]);
  CHECK(same_bits(drafts[0].logits, drafts[1].logits));
}

TEST_CASE("layers cannot begin where an earlier one chooses") {
  const MemorySource source(sparse_config(6), 7);
  cpu::Team team(1);
  const auto model = load_model(source, team);
  Executor executor(*model, team, run_options({}, DType::kF16));
  ForwardOutput out;
  const std::vector<float> hidden(128, 0.1f);
  CHECK_THROWS_WITH_AS(executor.forward_layers(rows_of({1}), {1, 4}, hidden, out), doctest::Contains("earlier"), Error);
  executor.forward_layers(rows_of({1}), {2, 4}, hidden, out);
  CHECK(out.logits.size() == kVocab);
}

TEST_CASE("sparse attention in parts: the order of sums alone differs") {
  ModelConfig c = sparse_config(8);
  c.n_heads = 6;
  c.n_shared_experts = 1;
  const MemorySource source(c, 11);
  cpu::Team team(3);
  const auto whole = load_model(source, team, {.compute_f32 = true});
  Executor executor(*whole, team, run_options({.compute_f32 = true}, DType::kF32));
  const std::vector<int> ids = some_ids(40, kVocab);
  const std::vector<float> want = generated(executor, ids, 1), want_prompt = logits_of(executor, prompt_of(ids));
  for (const Shares& shares : {equal_shares(2), equal_shares(3), Shares{1.0, 4.0}}) {
    const auto parts = load_model(source, team, {.compute_f32 = true, .shares = shares});
    Executor cut(*parts, team, run_options({.compute_f32 = true}, DType::kF32));
    CHECK(difference(generated(cut, ids, 1), want) < 1e-5);
    CHECK(difference(logits_of(cut, prompt_of(ids)), want_prompt) < 1e-5);
  }
}

}  // namespace dodeca::runtime::exec
