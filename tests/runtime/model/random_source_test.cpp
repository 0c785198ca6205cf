#include "runtime/model/random_source.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "quant/codec.hpp"
#include "runtime/model/random_blocks.hpp"
#include "tests/support/small_config.hpp"

using namespace dodeca;
using namespace dodeca::runtime;

namespace {

ModelConfig sigmoid_config() {
  ModelConfig c = tests::small_mla_config(1, 1);
  c.hidden_size = 256;
  c.gating = GatingKind::kSigmoid;
  return c;
}

TypeOf type_by_width(quant::DType wide = quant::DType::kQ2_K) {
  return [wide](const WantedWeight& w) { return w.n_in % 256 == 0 ? wide : quant::DType::kF16; };
}

}  // namespace

TEST_CASE("random blocks of every type are finite and have the wanted deviation and no mean") {
  for (const quant::TypeInfo& type : quant::all_types()) {
    if (!type.decodable) continue;
    CAPTURE(type.name);
    constexpr std::int64_t kBlocks = 512;
    const double wanted = 1 / std::sqrt(2048.0);
    const std::vector<std::byte> blocks = random_blocks(type.dtype, kBlocks, wanted, 7);
    const std::int64_t n = kBlocks * type.block_elements;
    REQUIRE(blocks.size() == *quant::row_bytes(type.dtype, n));
    CHECK(random_rows(type.dtype, 4, n, wanted, 7).size() == 4 * blocks.size());
    CHECK(quant::find_non_finite(type.dtype, blocks.data(), n) == -1);
    std::vector<float> values(static_cast<std::size_t>(n));
    quant::decode_row(type.dtype, blocks.data(), values.data(), n);
    double sum = 0, squares = 0;
    for (const float v : values) sum += v, squares += static_cast<double>(v) * v;
    const double deviation = std::sqrt(squares / static_cast<double>(n)) / wanted;
    const double tolerance = type.dtype == quant::DType::kMXFP4 ? 0.5 : 0.1;
    CHECK(deviation > 1 - tolerance);
    CHECK(deviation < 1 + tolerance);
    // TQ2_0 codes of two bits stand for -1 to 2, of which files use three
    CHECK(std::abs(sum / static_cast<double>(n)) < (type.dtype == quant::DType::kTQ2_0 ? 0.5 : 0.2) * wanted);
  }
}

TEST_CASE("a random source has every wanted weight, and a row is the same whenever it is read") {
  const auto source = random_weights(sigmoid_config(), type_by_width(), 1);
  CHECK(source->find("blk.0.ffn_gate.weight")->dtype == quant::DType::kQ2_K);
  CHECK(source->find("blk.1.exp_probs_b.bias")->n_in == 8);
  CHECK(source->find("blk.1.ffn_gate.weight") == nullptr);
  const WeightInfo& experts = *source->find("blk.1.ffn_gate_exps.weight");
  CHECK(experts.n_slices == 8);
  const std::size_t row = experts.row_bytes();
  std::vector<std::byte> rows(4 * row), one(row), other(row);
  source->read_rows(experts, 3, 10, 14, rows.data());
  source->read_rows(experts, 3, 12, 13, one.data());
  CHECK(std::memcmp(rows.data() + 2 * row, one.data(), row) == 0);
  source->read_rows(experts, 4, 12, 13, other.data());
  CHECK(std::memcmp(one.data(), other.data(), row) != 0);
  std::vector<float> norm(256);
  source->read_rows_f32(*source->find("output_norm.weight"), 0, 0, 1, norm.data());
  for (const float v : norm) REQUIRE(v == 1.0f);
}

TEST_CASE("random rows of a type with a row scale begin with it") {
  const auto source = random_weights(sigmoid_config(), type_by_width(quant::DType::kIQ4_KS), 1);
  const WeightInfo& experts = *source->find("blk.1.ffn_gate_exps.weight");
  std::vector<float> values(static_cast<std::size_t>(8 * experts.n_in));
  source->read_rows_f32(experts, 1, 0, 8, values.data());
  double squares = 0;
  for (const float v : values) squares += static_cast<double>(v) * v;
  CHECK(std::sqrt(squares) == doctest::Approx(std::sqrt(8.0)).epsilon(0.2));
}

TEST_CASE("without sigmoid scores there is no balancing bias") {
  ModelConfig config = sigmoid_config();
  config.gating = GatingKind::kSoftmax;
  for (const WeightInfo& w : random_weight_infos(config, type_by_width())) CHECK_FALSE(w.name.ends_with(".bias"));
}
