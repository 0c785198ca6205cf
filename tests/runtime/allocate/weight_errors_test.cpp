#include "runtime/allocate/weight_errors.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "quant/codec.hpp"
#include "runtime/allocate/divergence_meter.hpp"
#include "tests/support/demo_model.hpp"
#include "tests/support/memory_source.hpp"
#include "tests/support/small_config.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::runtime::allocate;
using quant::DType;

ModelConfig experts_config() {
  ModelConfig c = tests::small_mla_config(0, 1);
  c.hidden_size = 256;
  c.n_routed_experts = 4;
  return c;
}

TEST_CASE("weight errors: importance weighs columns, counts weigh experts") {
  const tests::MemorySource source(experts_config(), 3);
  const WeightInfo& weight = *source.find("blk.0.ffn_up_exps.weight");
  ImportanceMatrix::Entry importance{.n_in = 256, .sums = {}, .counts = {8, 0, 2, 4}};
  for (int e = 0; e < 4; ++e) {
    for (int i = 0; i < 256; ++i)
      importance.sums.push_back(importance.counts[static_cast<std::size_t>(e)] * static_cast<float>(1 + i % 7 + e));
  }
  const std::vector<DType> dtypes = {DType::kQ2_K, DType::kQ6_K, DType::kQ4_0};
  const ErrorQuestion question{&weight, &importance, dtypes};
  cpu::Team team(2), one(1);
  const auto got = weight_errors(source, {{question}}, team, cpu::host_isa(), {});
  REQUIRE(got.size() == 1);
  REQUIRE(got[0].size() == 3);
  CHECK(got == weight_errors(source, {{question}}, one, cpu::Isa::kScalar, {}));

  for (std::size_t d = 0; d < dtypes.size(); ++d) {
    double error = 0, energy = 0;
    for (std::int64_t expert = 0; expert < 4; ++expert) {
      const std::vector<float> m = ImportanceMatrix::importance(importance, 256, expert);
      const double count = importance.counts[static_cast<std::size_t>(expert)];
      for (std::int64_t row = 0; row < weight.n_out; ++row) {
        std::vector<float> w(256), rounded(256);
        source.read_rows_f32(weight, expert, row, row + 1, w.data());
        std::vector<std::byte> bytes(*quant::row_bytes(dtypes[d], 256));
        quant::encode_row(dtypes[d], w.data(), bytes.data(), 256, m.data());
        quant::decode_row(dtypes[d], bytes.data(), rounded.data(), 256);
        for (std::size_t i = 0; i < 256; ++i) {
          error += count * m[i] * std::pow(double{w[i]} - rounded[i], 2);
          energy += count * m[i] * std::pow(double{w[i]}, 2);
        }
      }
    }
    CHECK(got[0][d] == doctest::Approx(error / energy));
  }
  CHECK(got[0][0] > 10 * got[0][1]);
}

TEST_CASE("weight errors: where nothing was reached every slice counts alike") {
  const tests::MemorySource source(experts_config(), 3);
  const WeightInfo& weight = *source.find("blk.0.ffn_up_exps.weight");
  const ImportanceMatrix::Entry unreached{.n_in = 256, .sums = std::vector<float>(4 * 256), .counts = {0, 0, 0, 0}};
  const ImportanceMatrix::Entry alike{.n_in = 256, .sums = std::vector<float>(4 * 256, 1.0f), .counts = {1, 1, 1, 1}};
  cpu::Team team(1);
  const auto errors = [&](const ImportanceMatrix::Entry& importance) {
    const ErrorQuestion question{&weight, &importance, {DType::kQ2_K}};
    return weight_errors(source, {{question}}, team, cpu::host_isa(), {})[0][0];
  };
  CHECK(errors(unreached) > 0.01);
  CHECK(errors(unreached) == errors(alike));
}

TEST_CASE("weight errors: NaN is named") {
  tests::MemorySource source(experts_config(), 4);
  source.values("blk.0.attn_output.weight")[70] = std::numeric_limits<float>::quiet_NaN();
  cpu::Team team(1);
  const std::vector<ErrorQuestion> questions = {{source.find("blk.0.attn_output.weight"), nullptr, {DType::kQ4_0}}};
  CHECK_THROWS_WITH_AS(weight_errors(source, questions, team, cpu::host_isa(), {}),
                       doctest::Contains("blk.0.attn_output.weight"), Error);
}

TEST_CASE("a divergence meter: nothing rounded is no divergence, fewer bits are more of it") {
  tests::LoadedDemo demo({});
  MeterOptions options{.n_ctx = 64, .n_windows = 2};
  for (int i = 0; i < 128; ++i) options.tokens.push_back((i * 37 + 11) % 4096);
  const DivergenceMeter meter(*demo.source, demo.team, options);
  CHECK(meter.mean_kld({}) < 1e-6);
  const double coarse = meter.mean_kld({{"blk.3.ffn_down_exps.weight", {DType::kQ2_K, nullptr}}}),
               fine = meter.mean_kld({{"blk.3.ffn_down_exps.weight", {DType::kQ6_K, nullptr}}});
  CHECK(coarse > 0);
  CHECK(fine < coarse / 5);
  CHECK(coarse == meter.mean_kld({{"blk.3.ffn_down_exps.weight", {DType::kQ2_K, nullptr}}}));
}

}  // namespace
