#include "quant/gain.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <vector>

#include "quant/codec.hpp"

using namespace dodeca;
using quant::DType;

namespace {

constexpr std::int64_t kColumns = 2048;

struct Row {
  std::vector<float> weights = std::vector<float>(kColumns), importance = std::vector<float>(kColumns),
                     decoded = std::vector<float>(kColumns);
  std::vector<std::byte> blocks;

  Row(DType dtype, unsigned seed) : blocks(*quant::row_bytes(dtype, kColumns)) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (float& w : weights) w = 0.02f * normal(random);
    for (float& m : importance) m = std::exp(normal(random));
    quant::encode_row(dtype, weights.data(), blocks.data(), kColumns, importance.data());
  }
  double gain(DType dtype) {
    quant::decode_row(dtype, blocks.data(), decoded.data(), kColumns);
    double product = 0, square = 0;
    for (std::size_t i = 0; i < kColumns; ++i) {
      product += static_cast<double>(importance[i] * weights[i] * decoded[i]);
      square += static_cast<double>(importance[i] * weights[i] * weights[i]);
    }
    return product / square;
  }
};

}  // namespace

TEST_CASE("coarse types get three quarters of their gain back, the others keep their bits") {
  for (const quant::TypeInfo& type : quant::all_types()) {
    if (!type.encodable) continue;
    CAPTURE(type.name);
    Row row(type.dtype, 1);
    const std::vector<std::byte> before = row.blocks;
    const double lost = row.gain(type.dtype);
    quant::restore_gain(type.dtype, row.weights.data(), row.blocks.data(), kColumns, row.importance.data(),
                        row.decoded.data());
    if (quant::loses_gain(type.dtype)) {
      CHECK(lost < 0.995);
      CHECK(row.gain(type.dtype) == doctest::Approx(std::pow(lost, 0.25)).epsilon(0.001));  // f16 scales
    } else {
      CHECK(lost > 0.985);
      CHECK(row.blocks == before);
    }
  }
}

TEST_CASE("rows without weights, and blocks that have nothing to do with them, stay as they are") {
  Row row(DType::kIQ1_M, 2);
  const std::vector<std::byte> before = row.blocks;
  const std::vector<float> zeros(kColumns);
  quant::restore_gain(DType::kIQ1_M, zeros.data(), row.blocks.data(), kColumns, nullptr, row.decoded.data());
  CHECK(row.blocks == before);
  std::vector<float> opposite = row.weights;
  for (float& w : opposite) w = -w;
  quant::restore_gain(DType::kIQ1_M, opposite.data(), row.blocks.data(), kColumns, nullptr, row.decoded.data());
  CHECK(row.blocks == before);
}
