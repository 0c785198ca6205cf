// Hidden rows go in and come out: the last norm's, and the residual stream between any two layers.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/runtime/exec/exec_fixture.hpp"
#include "tests/support/memory_source.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime;
using namespace dodeca::runtime::exec;

}  // namespace

TEST_CASE("layers one after another, on executors of their own, give the bits of the whole") {
  LoadedDemo demo({});
  const std::int64_t n_layers = demo.model->config().n_layers;
  const std::vector<Row> rows = rows_of(some_ids(30, 4096));
  ForwardOutput want;
  Executor whole(*demo.model, demo.team, {.n_positions = 128, .micro_batch = 16});
  whole.forward(rows, want);
  Executor first(*demo.model, demo.team, {.n_positions = 128, .micro_batch = 16}),
      second(*demo.model, demo.team, {.n_positions = 128, .micro_batch = 7});
  for (const std::int64_t cut : {std::int64_t{1}, n_layers / 2, n_layers - 1}) {
    ForwardOutput middle, got;
    first.cache().truncate(0, 0);
    second.cache().truncate(0, 0);
    first.forward_layers(rows, {0, cut}, {}, middle);
    CHECK(middle.logits.empty());
    second.forward_layers(rows, {cut, n_layers}, middle.residual, got);
    CHECK(got.residual.empty());
    CHECK(same_bits(want.logits, got.logits));
  }
  ForwardOutput out;
  first.cache().truncate(0, 0);
  CHECK_THROWS_AS(first.forward_layers(rows, {1, n_layers}, {}, out), Error);  // no hidden rows
  CHECK_THROWS_AS(first.forward_layers(rows, {2, 2}, want.logits, out), Error);
  CHECK_THROWS_AS(first.forward_layers(rows, {0, n_layers + 1}, {}, out), Error);
  std::vector<float> broken(rows.size() * static_cast<std::size_t>(demo.model->config().hidden_size), 1.0f);
  broken[5] = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH_AS(first.forward_layers(rows, {1, 2}, broken, out), doctest::Contains("hidden row"), Error);
  CHECK(first.cache().length(0) == 0);
}

TEST_CASE("NaN and infinity do not leave in the residual stream") {
  MemorySource source(small_mla_config(2, 0), 5);
  for (float& v : source.values("blk.0.ffn_down.weight")) v = 3e38f;
  cpu::Team team(2);
  const auto model = load_model(source, team);
  Executor executor(*model, team, {.n_positions = 64, .cache_type = quant::DType::kF32});
  ForwardOutput out;
  CHECK_THROWS_WITH_AS(executor.forward_layers(rows_of({1, 2, 3}), {0, 1}, {}, out),
                       doctest::Contains("layer 0 (feed-forward)"), Error);
  CHECK(executor.cache().length(0) == 0);
}

TEST_CASE("rows that want the hidden state get the last norm's, in their order, with or without logits") {
  MemorySource source(small_mla_config(2, 0), 3);
  cpu::Team team(2);
  const auto model = load_model(source, team);
  Executor executor(*model, team, {.n_positions = 64, .cache_type = quant::DType::kF32});
  std::vector<Row> rows = rows_of(some_ids(9, 64));
  ForwardOutput all, some;
  executor.forward(rows, all);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].wants_hidden = i % 2 == 1;
    rows[i].wants_logits = i % 3 == 0;
  }
  executor.cache().truncate(0, 0);
  executor.forward(rows, some);
  const auto hidden = static_cast<std::size_t>(model->config().hidden_size), vocab = std::size_t{64};
  REQUIRE(some.hidden.size() == 4 * hidden);
  REQUIRE(some.logits.size() == 3 * vocab);
  const std::vector<float>& head = source.values("output.weight");
  for (std::size_t k = 0; k < 4; ++k) {  // its products with the head are the row's logits
    for (std::size_t token = 0; token < vocab; ++token) {
      double sum = 0.0;
      for (std::size_t j = 0; j < hidden; ++j)
        sum += static_cast<double>(some.hidden[k * hidden + j]) * head[token * hidden + j];
      CHECK(sum == doctest::Approx(all.logits[(2 * k + 1) * vocab + token]).epsilon(1e-4));
    }
  }
  for (std::size_t k = 0; k < 3; ++k)
    CHECK(std::equal(some.logits.begin() + static_cast<std::ptrdiff_t>(k * vocab),
                     some.logits.begin() + static_cast<std::ptrdiff_t>((k + 1) * vocab),
                     all.logits.begin() + static_cast<std::ptrdiff_t>(3 * k * vocab)));
}

TEST_CASE("the layers of multi-token prediction are placed on request, with a cache store of their own") {
  LoadedDemo plain({}), with({.mtp = true});
  const ModelConfig& c = with.model->config();
  REQUIRE(c.n_mtp_layers == 1);
  const WeightId projection{WeightRole::kMtpProjection, c.n_layers};
  CHECK(plain.model->weights().parts(projection).empty());
  REQUIRE(with.model->weights().parts(projection).size() == 1);
  CHECK(with.model->weights().parts(projection).front().n_in == 2 * c.hidden_size);
  CHECK_FALSE(with.model->weights().parts({WeightRole::kKB, c.n_layers}).empty());
  Executor executor(*with.model, with.team, {.n_positions = 128}),
      other(*plain.model, plain.team, {.n_positions = 128});
  CHECK(executor.cache().n_layers() == c.n_layers + 1);
  CHECK(other.cache().n_layers() == c.n_layers);
  CHECK(same_bits(logits_of(executor, some_ids(20, 4096)), logits_of(other, some_ids(20, 4096))));
}

TEST_CASE("an observer sees the residual stream behind every block, and changes nothing") {
  LoadedDemo demo({});
  Executor executor(*demo.model, demo.team, {.n_positions = 128});
  const std::vector<float> want = logits_of(executor, some_ids(12, 4096));
  std::vector<std::string> names;
  executor.set_observer([&](const BlockPlan& block, const Pass& pass) {
    names.push_back(block.name());
    CHECK(pass.n() == 12);
    CHECK(std::isfinite(pass.buffer(RowBuffer::kResidual).row(11)[0]));
  });
  CHECK(same_bits(logits_of(executor, some_ids(12, 4096)), want));
  REQUIRE(names.size() == demo.model->plan().blocks.size());
  CHECK(names[0] == "embedding");
  CHECK(names[1] == "layer 0 attention");
  CHECK(names.back() == "output head");
}
