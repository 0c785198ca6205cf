// A model in P parts computes what the whole one does, but for the order of the partial sums: every kind of block, any
// number of parts, uneven shares, quantized weights, the widths of DeepSeek-V3 and of V2-Lite.
#include <doctest/doctest.h>

#include <cmath>

#include "runtime/model/random_source.hpp"
#include "runtime/model/shapes.hpp"
#include "tests/runtime/exec/exec_fixture.hpp"
#include "tests/support/compare.hpp"
#include "tests/support/memory_source.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime;
using quant::DType;

// Two layers of a published shape, one of them dense, with few experts and a short vocabulary.
ModelConfig slice_of(const char* shape) {
  ModelConfig c = published_shape(shape);
  set_layers(c, 1, 1);
  c.vocab_size = 512;
  c.n_routed_experts = 8;
  c.n_experts_per_tok = 3;
  c.n_group = c.topk_group = 1;
  return c;
}

// A random model of a slice in types whose blocks fit its rows.
std::unique_ptr<WeightSource> random_model(const ModelConfig& c) {
  return random_weights(
      c,
      [](const WantedWeight& w) {
        if (w.id.role == WeightRole::kRouter) return DType::kF32;
        const DType wanted = w.id.role == WeightRole::kExpertDown ? DType::kQ3_K
                             : is_routed(w.id.role)               ? DType::kQ2_K
                                                                  : DType::kQ4_K;
        return w.n_in % 256 == 0 ? wanted : DType::kQ5_0;
      },
      7);
}

// Largest difference of the residual stream behind the layers, in deviations of its values.
double difference(const std::vector<float>& got, const std::vector<float>& want) {
  double square = 0.0, worst = 0.0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    square += static_cast<double>(want[i]) * want[i];
    worst = std::max(worst, std::abs(static_cast<double>(got[i]) - want[i]));
  }
  return worst / std::sqrt(square / static_cast<double>(want.size()));
}

std::vector<float> hidden_of(const Model& model, cpu::Team& team, std::int64_t n_layers) {
  Executor executor(model, team, {.n_positions = 128, .cache_type = DType::kF32, .integer_attention = false});
  ForwardOutput out;
  executor.forward_layers(rows_of(some_ids(24, 512)), {0, n_layers}, {}, out);
  return out.residual;
}

}  // namespace

TEST_CASE("V3-wide and V2-Lite-wide quantized models in 2, 3, 4 and 8 parts") {
  for (const char* shape : {"deepseek-v3", "deepseek-v2-lite"}) {
    ModelConfig c = slice_of(shape);
    const auto source = random_model(c);
    cpu::Team team(2);
    const auto whole = load_model(*source, team);
    Executor executor(*whole, team, {.n_positions = 128, .cache_type = DType::kF32});
    const std::vector<float> want = logits_of(executor, some_ids(24, 512));
    const std::vector<float> first = hidden_of(*whole, team, 1);
    for (const Shares& shares : {equal_shares(2), equal_shares(3), equal_shares(4), equal_shares(8), {3.0, 1.0, 2.0}}) {
      const auto parts = load_model(*source, team, {.shares = shares});
      CHECK(parts->weight_bytes() == whole->weight_bytes());
      CHECK(parts->contents() == whole->contents());
      // One dense layer: activations differ by the order of float32 sums before they are rounded to 8 bits, which moves a
      // few of them by one step of 1/127 of their block's largest; behind P partial sums of thousands of products that
      // is a few thousandths of a deviation, and never more than a few hundredths.
      const double one = difference(hidden_of(*parts, team, 1), first);
      CHECK(one > 0);  // they are cut
      CHECK_MESSAGE(one < 0.02, shape, ", ", shares.size(), " parts: ", one);
      Executor cut(*parts, team, {.n_positions = 128, .cache_type = DType::kF32});
      const double all = difference(logits_of(cut, some_ids(24, 512)), want);
      CHECK_MESSAGE(all < 0.1, shape, ", ", shares.size(), " parts: ", all);
    }
  }
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
