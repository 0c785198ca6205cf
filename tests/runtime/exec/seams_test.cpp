// What must hold whatever runs on top: results do not depend on threads, micro-batches, companions or cache history;
// partitions add up; another architecture is a description.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <sstream>

#include "runtime/exec/input_sums.hpp"
#include "tests/runtime/exec/exec_fixture.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/memory_source.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime::exec;

TEST_CASE("a row's logits do not depend on threads, micro-batch or companions") {
  LoadedDemo demo({});
  const int vocab = static_cast<int>(demo.model->config().vocab_size);
  const std::vector<int> ids = some_ids(90, vocab);
  Executor whole(*demo.model, demo.team, {.n_positions = 4096, .n_sequences = 3, .micro_batch = 512});
  const std::vector<float> reference = logits_of(whole, ids);
  for (const int threads : {1, 3}) {
    cpu::Team team(threads);
    CHECK(same_bits(reference, logits_of(whole, ids, 0, &team)));
  }
  Executor cut(*demo.model, demo.team, {.n_positions = 4096, .n_sequences = 3, .micro_batch = 7});
  CHECK(same_bits(reference, logits_of(cut, ids)));
  cpu::Team three(3);
  CHECK(same_bits(reference, logits_of(cut, ids, 0, &three)));

  // One row at a time, between rows of two other sequences.
  std::vector<float> alone;
  ForwardOutput out;
  whole.cache().truncate(0, 0);
  const std::vector<int> other = some_ids(90, vocab, 5);
  for (int i = 0; i < 90; ++i) {
    const std::vector<Row> rows = {
        {.token = other[static_cast<std::size_t>(i)], .position = i, .sequence = 1},
        {.token = ids[static_cast<std::size_t>(i)], .position = i, .sequence = 0, .wants_logits = true},
        {.token = other[static_cast<std::size_t>(89 - i)], .position = i, .sequence = 2}};
    whole.forward(rows, out);
    alone.insert(alone.end(), out.logits.begin(), out.logits.end());
  }
  CHECK(same_bits(reference, alone));
}

TEST_CASE("a long context gives the same bits as a prompt and token by token, split over members or not") {
  LoadedDemo demo({});
  const int vocab = static_cast<int>(demo.model->config().vocab_size);
  const std::vector<int> ids = some_ids(1300, vocab);  // three context chunks
  Executor executor(*demo.model, demo.team, {.n_positions = 4096});
  const std::vector<float> prompt = logits_of(executor, ids);
  {  // all at once: experts with more than one piece of rows
    Executor at_once(*demo.model, demo.team, {.n_positions = 4096, .micro_batch = 1300});
    CHECK(same_bits(prompt, logits_of(at_once, ids)));
  }
  executor.cache().truncate(0, 1290);
  ForwardOutput out;
  std::vector<float> tail;
  for (int i = 1290; i < 1300; ++i) {
    executor.forward(rows_of({ids[static_cast<std::size_t>(i)]}, 0, i), out);
    tail.insert(tail.end(), out.logits.begin(), out.logits.end());
  }
  CHECK(same_bits({prompt.end() - static_cast<std::ptrdiff_t>(tail.size()), prompt.end()}, tail));
}

TEST_CASE("the cache forks, truncates, saves and restores without changing a bit") {
  LoadedDemo demo({});
  const int vocab = static_cast<int>(demo.model->config().vocab_size);
  const std::vector<int> ids = some_ids(150, vocab);
  for (const quant::DType type : kCacheTypes) {
    Executor executor(*demo.model, demo.team, {.n_positions = 1024, .n_sequences = 3, .cache_type = type});
    const std::vector<float> all = logits_of(executor, ids);
    const std::vector<int> tail(ids.begin() + 100, ids.end());
    const std::vector<float> expected(all.begin() + 100 * vocab, all.end());
    ForwardOutput out;
    executor.cache().fork(0, 1, 100);
    executor.forward(rows_of(tail, 1, 100), out);
    CHECK(same_bits(expected, out.logits));
    CHECK(executor.cache().length(0) == 150);  // the source is as it was
    std::stringstream file;
    executor.cache().truncate(1, 100);
    executor.cache().save(1, file);
    executor.cache().restore(2, file);
    executor.cache().truncate(0, 0);
    executor.cache().truncate(1, 0);
    executor.forward(rows_of(tail, 2, 100), out);
    CHECK(same_bits(expected, out.logits));
    executor.cache().truncate(2, 0);
    CHECK(executor.cache().free_positions() == executor.cache().capacity());
  }
}

TEST_CASE("a full cache refuses with its numbers and changes nothing") {
  LoadedDemo demo({});
  Executor executor(*demo.model, demo.team, {.n_positions = 64, .n_sequences = 2});
  ForwardOutput out;
  executor.forward(rows_of(some_ids(60, 4096)), out);
  CHECK_THROWS_AS(executor.forward(rows_of(some_ids(5, 4096), 0, 60), out), runtime::Error);
  CHECK(executor.cache().length(0) == 60);
  CHECK_NOTHROW(executor.forward(rows_of(some_ids(4, 4096), 0, 60), out));
  CHECK_THROWS_AS(executor.forward(rows_of({1}, 0, 3), out), runtime::Error);     // wrong position
  CHECK_THROWS_AS(executor.forward(rows_of({4096}, 1, 0), out), runtime::Error);  // no such token
}

TEST_CASE("a pass of many rows is stopped behind a block, and leaves everything as it was") {
  LoadedDemo demo({});
  const std::vector<int> ids = some_ids(60, static_cast<int>(demo.model->config().vocab_size));
  cpu::Team three(3);
  Executor executor(*demo.model, three, {.n_positions = 512, .micro_batch = 30});
  const std::vector<float> want = logits_of(executor, ids);
  executor.cache().truncate(0, 0);
  ForwardOutput out;
  executor.forward(rows_of({ids.begin(), ids.begin() + 20}, 0), out);
  const std::vector<Row> rest = rows_of({ids.begin() + 20, ids.end()}, 0, 20);
  const auto n_blocks = static_cast<int>(demo.model->plan().blocks.size());
  int asked = 0;
  for (const int limit : {0, 1, n_blocks, 2 * n_blocks - 1}) {  // the last one in the second of two passes
    CAPTURE(limit);
    asked = 0;
    executor.set_stop([&] { return ++asked > limit; });
    CHECK_THROWS_AS(executor.forward(rest, out), runtime::Stopped);
    CHECK(asked == limit + 1);
    CHECK(executor.cache().length(0) == 20);
  }
  asked = 0;
  executor.set_stop([&] { return ++asked > 0; });
  executor.forward(rows_of({ids[20]}, 0, 20), out);  // few rows: nobody is asked
  CHECK(asked == 0);
  executor.cache().truncate(0, 20);
  executor.set_stop({});
  executor.forward(rest, out);
  CHECK(same_bits({want.end() - static_cast<std::ptrdiff_t>(out.logits.size()), want.end()}, out.logits));
}

TEST_CASE("feed-forward blocks in 1 to 4 parts add up to the whole") {
  LoadedDemo whole({.compute_f32 = true});
  const std::vector<int> ids = some_ids(40, 4096);
  Executor executor(*whole.model, whole.team, {.n_positions = 128, .cache_type = quant::DType::kF32});
  const std::vector<float> reference = logits_of(executor, ids);
  for (const int n_parts : {2, 3, 4}) {
    LoadedDemo parts({.compute_f32 = true, .shares = runtime::equal_shares(n_parts)});
    Executor cut(*parts.model, parts.team, {.n_positions = 128, .cache_type = quant::DType::kF32});
    const Comparison result = compare(logits_of(cut, ids), reference, {.abs = 1e-3});
    CHECK_MESSAGE(result.ok, n_parts, " parts: ", result.report);
    CHECK(parts.model->weight_bytes() == whole.model->weight_bytes());
  }
}

TEST_CASE("the prompt route goes by the kind of a row, not by its companions") {
  runtime::ModelConfig c = small_mla_config(1, 1);
  c.n_shared_experts = 1;
  const MemorySource source(c, 9);  // F32 weights throughout
  cpu::Team team(2);
  const auto plain = load_model(source, team);
  const auto model = load_model(source, team, {.onednn = true});
  // A float32 cache: no rounding to whole numbers stands between the two routes.
  Executor executor(*model, team, {.n_positions = 512, .n_sequences = 2, .cache_type = quant::DType::kF32});
  Executor own(*plain, team, {.n_positions = 512, .n_sequences = 2, .cache_type = quant::DType::kF32});
  const std::vector<Row> prompt = prompt_of(some_ids(40, 64));
  ForwardOutput out;
  executor.forward(prompt, out);
  const std::vector<float> whole = out.logits;
  own.forward(prompt, out);
  const Comparison near = compare(whole, out.logits, {.abs = 1e-3});
  CHECK_MESSAGE(near.ok, near.report);
  // The same prompt row by row, each beside a generated row of another sequence.
  executor.cache().truncate(0, 0);
  std::vector<float> mixed;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    const std::vector<Row> rows = {prompt[i], {.token = 3, .position = static_cast<std::int32_t>(i), .sequence = 1}};
    executor.forward(rows, out);
    mixed.insert(mixed.end(), out.logits.begin(), out.logits.end());
  }
  CHECK(same_bits(whole, mixed));
}

// ---- another architecture: grouped-query attention, a softmax of the selected logits --------------------------------

runtime::ModelConfig gqa_config() {
  runtime::ModelConfig c;
  c.architecture = "test";
  c.vocab_size = 50;
  c.hidden_size = 48;
  c.n_layers = 2;
  c.context_length = 256;
  c.layers = {{runtime::AttentionKind::kGqa, runtime::FfnKind::kMoe},
              {runtime::AttentionKind::kGqa, runtime::FfnKind::kMoe}};
  c.n_heads = 6;
  c.n_kv_heads = 2;
  c.head_dim = 16;
  c.rope.dim = 16;
  c.moe_intermediate_size = 40;
  c.n_routed_experts = 5;
  c.n_experts_per_tok = 2;
  c.gating = runtime::GatingKind::kSoftmaxSelected;
  return c;
}

using Vec = std::vector<double>;

Vec times(const std::vector<float>& w, std::size_t offset, std::size_t n_out, const Vec& x) {
  Vec y(n_out, 0.0);
  for (std::size_t r = 0; r < n_out; ++r) {
    for (std::size_t k = 0; k < x.size(); ++k) y[r] += w[offset + r * x.size() + k] * x[k];
  }
  return y;
}

Vec normed(const Vec& x, const std::vector<float>& weight, double eps) {
  double sum = 0.0;
  for (const double v : x) sum += v * v;
  Vec y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    y[i] = x[i] / std::sqrt(sum / static_cast<double>(x.size()) + eps) * weight[i];
  return y;
}

// The same model in double, written from its definition.
std::vector<Vec> reference_logits(const MemorySource& source, const std::vector<int>& ids) {
  const runtime::ModelConfig& c = source.config();
  const auto hidden = static_cast<std::size_t>(c.hidden_size), dim = static_cast<std::size_t>(c.head_dim),
             heads = static_cast<std::size_t>(c.n_heads), kv_heads = static_cast<std::size_t>(c.n_kv_heads),
             inner = static_cast<std::size_t>(c.moe_intermediate_size);
  std::vector<Vec> x;
  for (const int id : ids) {
    Vec row(hidden);
    for (std::size_t i = 0; i < hidden; ++i)
      row[i] = source.values("token_embd.weight")[static_cast<std::size_t>(id) * hidden + i];
    x.push_back(row);
  }
  const auto rotate = [&](double* v, std::size_t position) {
    for (std::size_t i = 0; i < dim / 2; ++i) {
      const bool halves = c.rope.pairing == runtime::RopePairing::kHalves;
      double &first = v[halves ? i : 2 * i], &second = v[halves ? i + dim / 2 : 2 * i + 1];
      const double angle = static_cast<double>(position) * c.inv_freq()[i], a = first, b = second;
      first = a * std::cos(angle) - b * std::sin(angle);
      second = a * std::sin(angle) + b * std::cos(angle);
    }
  };
  for (int layer = 0; layer < 2; ++layer) {
    const std::string b = "blk." + std::to_string(layer) + ".";
    std::vector<Vec> q, k, v;
    for (std::size_t t = 0; t < x.size(); ++t) {
      const Vec h = normed(x[t], source.values(b + "attn_norm.weight"), c.rms_norm_eps);
      q.push_back(times(source.values(b + "attn_q.weight"), 0, heads * dim, h));
      k.push_back(times(source.values(b + "attn_k.weight"), 0, kv_heads * dim, h));
      v.push_back(times(source.values(b + "attn_v.weight"), 0, kv_heads * dim, h));
      for (std::size_t a = 0; a < heads; ++a) rotate(q[t].data() + a * dim, t);
      for (std::size_t a = 0; a < kv_heads; ++a) rotate(k[t].data() + a * dim, t);
    }
    for (std::size_t t = 0; t < x.size(); ++t) {
      Vec joined(heads * dim, 0.0);
      for (std::size_t a = 0; a < heads; ++a) {
        const std::size_t g = a / (heads / kv_heads);
        Vec p;
        double sum = 0.0;
        for (std::size_t u = 0; u <= t; ++u) {
          double score = 0.0;
          for (std::size_t i = 0; i < dim; ++i) score += q[t][a * dim + i] * k[u][g * dim + i];
          p.push_back(std::exp(score / std::sqrt(static_cast<double>(dim))));
          sum += p.back();
        }
        for (std::size_t u = 0; u <= t; ++u) {
          for (std::size_t i = 0; i < dim; ++i) joined[a * dim + i] += p[u] / sum * v[u][g * dim + i];
        }
      }
      const Vec out = times(source.values(b + "attn_output.weight"), 0, hidden, joined);
      for (std::size_t i = 0; i < hidden; ++i) x[t][i] += out[i];
      const Vec h = normed(x[t], source.values(b + "ffn_norm.weight"), c.rms_norm_eps);
      const Vec z = times(source.values(b + "ffn_gate_inp.weight"), 0, static_cast<std::size_t>(c.n_routed_experts), h);
      std::vector<std::size_t> order = {0, 1, 2, 3, 4};
      const auto& bias = source.values(b + "exp_probs_b.bias");
      Vec prob(5);
      double total = 0.0;
      for (std::size_t e = 0; e < 5; ++e) total += std::exp(z[e]);
      for (std::size_t e = 0; e < 5; ++e) prob[e] = std::exp(z[e]) / total + bias[e];
      std::sort(order.begin(), order.end(), [&](std::size_t l, std::size_t r) { return prob[l] > prob[r]; });
      const double both = std::exp(z[order[0]]) + std::exp(z[order[1]]);
      for (const std::size_t e : {order[0], order[1]}) {
        const Vec gate = times(source.values(b + "ffn_gate_exps.weight"), e * inner * hidden, inner, h),
                  up = times(source.values(b + "ffn_up_exps.weight"), e * inner * hidden, inner, h);
        Vec mid(inner);
        for (std::size_t i = 0; i < inner; ++i) mid[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
        const Vec down = times(source.values(b + "ffn_down_exps.weight"), e * inner * hidden, hidden, mid);
        for (std::size_t i = 0; i < hidden; ++i) x[t][i] += std::exp(z[e]) / both * down[i];
      }
    }
  }
  std::vector<Vec> logits;
  for (const Vec& row : x)
    logits.push_back(
        times(source.values("output.weight"), 0, 50, normed(row, source.values("output_norm.weight"), c.rms_norm_eps)));
  return logits;
}

TEST_CASE("a grouped-query model with a softmax-over-selected router runs from its description") {
  runtime::ModelConfig c = gqa_config();
  SUBCASE("pairs side by side") {}
  SUBCASE("pairs of halves") { c.rope.pairing = runtime::RopePairing::kHalves; }
  SUBCASE("rows of more than one block, weights in pieces") {
    c.hidden_size = 608;
    c.moe_intermediate_size = 288;
  }
  MemorySource source(c, 3);
  for (int layer = 0; layer < 2; ++layer) {  // choose by the logits alone, as such routers do
    auto& bias = source.values("blk." + std::to_string(layer) + ".exp_probs_b.bias");
    std::fill(bias.begin(), bias.end(), 0.0f);
  }
  cpu::Team team(2);
  const auto model = load_model(source, team);
  Executor executor(*model, team, {.n_positions = 256, .cache_type = quant::DType::kF32});
  const std::vector<int> ids = some_ids(70, 50);
  std::vector<float> want;
  for (const Vec& row : reference_logits(source, ids)) {
    for (const double v : row) want.push_back(static_cast<float>(v));
  }
  const auto scale = static_cast<double>(std::max(1.0f, *std::ranges::max_element(want)));
  const Comparison result = compare(logits_of(executor, ids), want, {.abs = 2e-4 * scale});
  CHECK_MESSAGE(result.ok, result.report);
  Executor by_row(*model, team, {.n_positions = 256, .cache_type = quant::DType::kF32});
  std::vector<float> got;
  ForwardOutput out;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    by_row.forward(rows_of({ids[i]}, 0, static_cast<std::int32_t>(i)), out);
    got.insert(got.end(), out.logits.begin(), out.logits.end());
  }
  const Comparison rows = compare(got, want, {.abs = 2e-4 * scale});
  CHECK_MESSAGE(rows.ok, rows.report);
}

TEST_CASE("importance sums are of normalized rows, whatever part of the norm lies in a row's factor") {
  runtime::ModelConfig c = small_mla_config();
  c.hidden_size = 320;
  c.q_lora_rank = 448;
  MemorySource source(c, 6);
  const std::vector<std::string> norms = {"blk.0.attn_norm.weight", "blk.0.attn_q_a_norm.weight",
                                          "blk.0.ffn_norm.weight"};
  for (const std::string& name : norms) std::ranges::fill(source.values(name), 1.0f);
  cpu::Team team(2);
  const auto model = load_model(source, team);
  Executor executor(*model, team, {.n_positions = 64});
  InputSums sums(model->plan());
  executor.set_input_sums(&sums);
  ForwardOutput out;
  executor.forward(rows_of(some_ids(20, 64)), out);  // many rows
  executor.forward(rows_of({1, 2, 3}, 0, 20), out);  // few
  for (const auto role : {runtime::WeightRole::kKvA, runtime::WeightRole::kQB, runtime::WeightRole::kGate}) {
    const InputSums::Input* input = sums.find({role, 0});
    REQUIRE(input != nullptr);
    CHECK(input->counts[0] == 23.0);
    // A row of n values whose mean square is 1, but for the epsilon below the root.
    const double all = std::accumulate(input->sums.begin(), input->sums.end(), 0.0);
    CHECK(all == doctest::Approx(23.0 * static_cast<double>(input->n_in)).epsilon(0.01));
  }
}

TEST_CASE("NaN in a weight is named, NaN in an activation names its layer") {
  MemorySource source(gqa_config(), 4);
  cpu::Team team(2);
  source.values("blk.1.ffn_up_exps.weight")[777] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH_AS(load_model(source, team), doctest::Contains("blk.1.ffn_up_exps.weight"), runtime::Error);
  source.values("blk.1.ffn_up_exps.weight")[777] = 0.0f;
  for (float& v : source.values("blk.0.attn_output.weight")) v = 3e38f;
  const auto model = load_model(source, team);
  Executor executor(*model, team, {.n_positions = 64});
  ForwardOutput out;
  CHECK_THROWS_WITH_AS(executor.forward(rows_of({1, 2, 3}), out), doctest::Contains("layer 0"), runtime::Error);
  CHECK(executor.cache().length(0) == 0);
}

}  // namespace
