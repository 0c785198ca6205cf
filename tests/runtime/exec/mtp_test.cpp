// The layer of multi-token prediction: against numpy in float64, cut into parts, in few rows and many.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "tests/runtime/exec/exec_fixture.hpp"
#include "tests/support/memory_source.hpp"
#include "tests/support/small_gqa_config.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime;
using namespace dodeca::runtime::exec;

// Rows of a text and their hidden states, from the main layers.
struct Text {
  std::vector<int> ids;
  std::vector<float> hidden;  // [ids, hidden]
  std::int64_t width = 0;

  Text(Executor& executor, const std::vector<int>& tokens) : ids(tokens), width(executor.config().hidden_size) {
    executor.cache().truncate(0, 0);
    std::vector<Row> rows = rows_of(ids);
    for (Row& row : rows) row.wants_hidden = true;
    ForwardOutput out;
    executor.forward(rows, out);
    hidden = out.hidden;
  }
  std::span<const float> hidden_of(std::int64_t begin, std::int64_t n) const {
    return std::span(hidden).subspan(static_cast<std::size_t>(begin * width), static_cast<std::size_t>(n * width));
  }
  // The draft rows of positions [begin, begin + n): each has the token behind it.
  std::vector<Row> rows(std::int64_t begin, std::int64_t n) const {
    return rows_of({ids.begin() + begin + 1, ids.begin() + begin + n + 1}, 0, static_cast<std::int32_t>(begin));
  }
  std::int64_t n_drafts() const { return std::ssize(ids) - 1; }
};

std::vector<float> drafts_of(Executor& executor, const Text& text, std::int64_t at_once, cpu::Team* team = nullptr) {
  std::vector<float> logits;
  ForwardOutput out;
  for (std::int64_t begin = 0; begin < text.n_drafts(); begin += at_once) {
    const std::int64_t n = std::min(at_once, text.n_drafts() - begin);
    executor.draft(text.rows(begin, n), text.hidden_of(begin, n), out, team);
    logits.insert(logits.end(), out.logits.begin(), out.logits.end());
  }
  return logits;
}

ModelConfig small_mtp_config() {
  ModelConfig c = small_mla_config(1, 1);
  c.n_mtp_layers = 1;
  return c;
}

TEST_CASE("multi-token prediction reproduces numpy in float64") {
  const auto golden = nlohmann::json::parse(std::ifstream(DODECA_SOURCE_DIR "/tests/golden/mtp.json"));
  LoadedDemo demo({.compute_f32 = true, .mtp = true});
  Executor executor(*demo.model, demo.team, {.n_positions = 1024, .cache_type = quant::DType::kF32});
  REQUIRE(executor.can_draft());
  const auto vocab = static_cast<std::size_t>(demo.model->config().vocab_size);
  double worst = 0.0;
  for (const auto& c : golden["cases"]) {
    const Text text(executor, c["ids"].get<std::vector<int>>());
    const std::vector<float> logits = drafts_of(executor, text, text.n_drafts());
    for (std::size_t i = 0; i + 1 < text.ids.size(); ++i) {
      const auto row = logits.begin() + static_cast<std::ptrdiff_t>(i * vocab);
      CHECK(std::max_element(row, row + static_cast<std::ptrdiff_t>(vocab)) - row == c["likeliest"][i].get<int>());
      const auto id = i + 2 < text.ids.size() ? text.ids[i + 2] : c["likeliest"][i].get<int>();
      const double want = (i + 2 < text.ids.size() ? c["logprobs"] : c["likeliest_logprobs"])[i].get<double>();
      worst = std::max(worst, std::abs(log_prob(logits, vocab, i, static_cast<std::size_t>(id)) - want));
    }
  }
  CHECK(worst < 2e-3);
  MESSAGE("largest difference of a log-probability: ", worst);
}

TEST_CASE("drafts have the same bits in any number of rows and on any team, whole and in parts") {
  for (const Shares& shares : {equal_shares(1), equal_shares(2), Shares{3.0, 1.0, 2.0}}) {
    LoadedDemo demo({.shares = shares, .mtp = true});
    Executor executor(*demo.model, demo.team, {.n_positions = 128, .micro_batch = 16});
    const Text text(executor, some_ids(41, 4096));
    const std::vector<float> want = drafts_of(executor, text, text.n_drafts());
    cpu::Team one(1), five(5);
    for (const std::int64_t at_once : {1, 2, 8, 9}) {
      CAPTURE(at_once);
      CAPTURE(shares.size());
      CHECK(same_bits(drafts_of(executor, text, at_once), want));
      CHECK(same_bits(drafts_of(executor, text, at_once, at_once % 2 == 0 ? &one : &five), want));
    }
  }
}

TEST_CASE("in parts nothing but the order of sums differs") {
  const MemorySource source(small_mtp_config(), 11);
  cpu::Team team(3);
  const auto logits = [&](const Shares& shares) {
    const auto model = load_model(source, team, {.shares = shares, .mtp = true});
    Executor executor(*model, team, {.n_positions = 128, .cache_type = quant::DType::kF32});
    const Text text(executor, some_ids(30, 64));
    return drafts_of(executor, text, 7);
  };
  const std::vector<float> want = logits(equal_shares(1));
  for (const Shares& shares : {equal_shares(2), equal_shares(5), Shares{1.0, 4.0}}) {
    const std::vector<float> got = logits(shares);
    for (std::size_t i = 0; i < want.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-3));
  }
}

// GLM-4.5's layer that drafts has grouped queries and experts. One that reads its token alone (the projection takes the
// embedding as it is) and is a copy of the only main layer must predict what that predicts of the text without its
// first token.
TEST_CASE("a layer with grouped queries drafts what the same layer predicts") {
  ModelConfig c = small_gqa_config(QkNorm::kPerHead);
  c.n_layers = c.n_mtp_layers = 1;
  c.layers = {c.layers.back()};
  c.rms_norm_eps = 1e-12;
  MemorySource source(c, 3);
  for (const WantedWeight& w : wanted_weights(c, false))
    if (w.id.layer == 0) source.values(gguf_name({w.id.role, 1})) = source.values(w.name);
  std::vector<float>& embeddings = source.values("token_embd.weight");
  for (auto row = embeddings.begin(); row != embeddings.end(); row += c.hidden_size) {
    const double squares = std::inner_product(row, row + c.hidden_size, row, 0.0);
    for (auto v = row; v != row + c.hidden_size; ++v)
      *v *= static_cast<float>(std::sqrt(static_cast<double>(c.hidden_size) / squares));
  }
  const std::string own = "blk.1.nextn.";
  source.values(own + "embed_tokens.weight") = embeddings;
  source.values(own + "shared_head_head.weight") = source.values("output.weight");
  source.values(own + "shared_head_norm.weight") = source.values("output_norm.weight");
  std::ranges::fill(source.values(own + "enorm.weight"), 1.0f);
  std::vector<float>& projection = source.values(own + "eh_proj.weight");
  std::ranges::fill(projection, 0.0f);
  for (std::int64_t i = 0; i < c.hidden_size; ++i) projection[i * 2 * c.hidden_size + i] = 1.0f;

  cpu::Team team(2);
  const auto model = load_model(source, team, {.mtp = true});
  Executor executor(*model, team, {.n_positions = 64, .cache_type = quant::DType::kF32});
  const std::vector<int> ids = some_ids(40, 64);
  const std::vector<float> want = logits_of(executor, std::vector<int>(ids.begin() + 1, ids.end()));
  const std::vector<float> got = drafts_of(executor, Text(executor, ids), 7);
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < want.size(); ++i) CHECK(got[i] == doctest::Approx(want[i]).epsilon(1e-4));
}

TEST_CASE("what a file keeps for these layers alone is used, and the model's own where it keeps nothing") {
  MemorySource own(small_mtp_config(), 5), copies(small_mtp_config(), 5), none(small_mtp_config(), 5);
  const std::string prefix = "blk.2.nextn.";
  copies.values(prefix + "embed_tokens.weight") = copies.values("token_embd.weight");
  copies.values(prefix + "shared_head_head.weight") = copies.values("output.weight");
  copies.values(prefix + "shared_head_norm.weight") = copies.values("output_norm.weight");
  for (const WeightRole role : {WeightRole::kMtpEmbedding, WeightRole::kMtpOutput, WeightRole::kMtpOutputNorm})
    none.remove_mtp(role);
  cpu::Team team(2);
  std::vector<std::vector<float>> logits;
  for (const MemorySource* source : {&own, &copies, &none}) {
    const auto model = load_model(*source, team, {.mtp = true});
    Executor executor(*model, team, {.n_positions = 64, .cache_type = quant::DType::kF32});
    logits.push_back(drafts_of(executor, Text(executor, some_ids(12, 64)), 5));
  }
  CHECK(same_bits(logits[1], logits[2]));
  CHECK_FALSE(same_bits(logits[0], logits[1]));
}

TEST_CASE("drafts follow drafts behind the cached length, and are gone when they are cut off") {
  LoadedDemo demo({.mtp = true});
  Executor executor(*demo.model, demo.team, {.n_positions = 128});
  const Text text(executor, some_ids(63, 4096));
  const std::vector<float> want = drafts_of(executor, text, 62);
  ForwardOutput first, second;
  std::vector<Row> rows = text.rows(61, 1);
  rows.front().wants_hidden = true;
  executor.draft(rows, text.hidden_of(61, 1), first);
  for (const std::int32_t position : {62, 63, 64}) {  // into another block of the cache
    rows.front().position = position;
    executor.draft(rows, first.hidden, second);
    CHECK(executor.cache().length(0) == std::max(63, position + 1));
    std::swap(first, second);
  }
  executor.cache().truncate(0, 63);
  CHECK(same_bits(drafts_of(executor, text, 31), want));
  // The main layers do not see it.
  ForwardOutput plain, out;
  executor.forward(rows_of({7}, 0, 63), out);
  Executor other(*demo.model, demo.team, {.n_positions = 128});
  other.forward(rows_of(text.ids), plain);
  other.forward(rows_of({7}, 0, 63), plain);
  CHECK(same_bits(out.logits, plain.logits));
}

TEST_CASE("drafts out of place are refused, and change nothing") {
  LoadedDemo demo({.mtp = true}), plain({});
  Executor executor(*demo.model, demo.team, {.n_positions = 128}),
      without(*plain.model, plain.team, {.n_positions = 64});
  const Text text(executor, some_ids(20, 4096));
  ForwardOutput out;
  CHECK_FALSE(without.can_draft());
  CHECK_THROWS_AS(without.draft(text.rows(0, 1), text.hidden_of(0, 1), out), Error);
  CHECK_THROWS_AS(executor.draft(text.rows(0, 2), text.hidden_of(0, 1), out), Error);
  std::vector<Row> rows = text.rows(3, 2);
  rows[1].position = 6;
  CHECK_THROWS_AS(executor.draft(rows, text.hidden_of(3, 2), out), Error);
  rows = text.rows(18, 1);
  rows[0].position = 21;
  CHECK_THROWS_AS(executor.draft(rows, text.hidden_of(18, 1), out), Error);
  rows[0].position = 20;
  rows[0].token = 4096;
  CHECK_THROWS_AS(executor.draft(rows, text.hidden_of(18, 1), out), Error);
  CHECK(executor.cache().length(0) == 20);
}

TEST_CASE("what a model is known by does not depend on whether its drafts are loaded") {
  LoadedDemo with({.mtp = true}), without({});
  CHECK(with.model->contents() == without.model->contents());
}

TEST_CASE("a saved sequence goes on with drafts and without, whether it was saved with them or not") {
  LoadedDemo with({.mtp = true}), without({});
  Executor drafting(*with.model, with.team, {.n_positions = 128}),
      plain(*without.model, without.team, {.n_positions = 128});
  const std::vector<int> ids = some_ids(70, 4096);
  ForwardOutput out;
  plain.forward(rows_of(ids), out);
  std::stringstream bare, whole;
  plain.cache().save(0, bare);
  plain.forward(rows_of({9}, 0, 70), out);
  const std::vector<float> want = out.logits;
  const Text text(drafting, ids);
  const std::vector<float> drafts = drafts_of(drafting, text, 69);
  drafting.cache().save(0, whole);
  CHECK(whole.str().size() > bare.str().size());
  for (Executor* executor : {&plain, &drafting}) {
    for (std::stringstream* saved : {&bare, &whole}) {
      std::stringstream in(saved->str());
      executor->cache().restore(0, in);
      executor->forward(rows_of({9}, 0, 70), out);
      CHECK(same_bits(out.logits, want));
    }
  }
  // The draft layer's rows came back: one more draft as if nothing had happened.
  std::stringstream in(whole.str());
  drafting.cache().restore(0, in);
  ForwardOutput again;
  drafting.draft(text.rows(68, 1), text.hidden_of(68, 1), again);
  CHECK(same_bits(again.logits, {drafts.end() - 4096, drafts.end()}));
}

}  // namespace
