#include "runtime/model/random_blocks.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "quant/codec.hpp"
#include "quant/factors.hpp"

namespace dodeca::runtime {
namespace {

using quant::DType;

struct Rows {
  DType dtype;
  std::int64_t n_rows, n_in;
  std::vector<std::byte> bytes;
  std::size_t row_bytes() const { return bytes.size() / static_cast<std::size_t>(n_rows); }
  void set_factors(double d, double m) {
    for (std::size_t at = 0; at < bytes.size(); at += row_bytes())
      quant::set_factors(dtype, bytes.data() + at, n_in, static_cast<float>(d), static_cast<float>(m));
  }
};

// A copy of the first rows: about 1024 blocks.
Rows sample_of(const Rows& rows) {
  constexpr std::int64_t kBlocks = 1024;
  const quant::TypeInfo& type = quant::type_info(rows.dtype);
  Rows sample{rows.dtype, 1, std::min(rows.n_in, kBlocks * type.block_elements), {}};
  sample.n_rows = std::min(rows.n_rows, std::max<std::int64_t>(1, kBlocks * type.block_elements / rows.n_in));
  const std::size_t bytes = *quant::row_bytes(rows.dtype, sample.n_in);
  for (std::int64_t row = 0; row < sample.n_rows; ++row) {
    const std::byte* from = rows.bytes.data() + static_cast<std::size_t>(row) * rows.row_bytes();
    sample.bytes.insert(sample.bytes.end(), from, from + bytes);
  }
  return sample;
}

struct Moments {
  double mean = 0, deviation = 0;
};

Moments moments(Rows& sample, double d, double m) {
  sample.set_factors(d, m);
  std::vector<float> values(static_cast<std::size_t>(sample.n_rows * sample.n_in));
  quant::decode_rows(sample.dtype, sample.bytes.data(), sample.n_rows, sample.n_in, values.data());
  double sum = 0, squares = 0;
  for (const float v : values) sum += v, squares += static_cast<double>(v) * v;
  const auto n = static_cast<double>(values.size());
  return {sum / n, std::sqrt(std::max(0.0, squares / n - sum / n * (sum / n)))};
}

// Types whose values are their own factors, or whose encoder is a plain rounding.
std::vector<std::byte> encoded(DType dtype, std::int64_t n, double deviation, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) {  // uniform in +-sqrt(3): deviation 1
    const double unit = static_cast<double>(mix64(seed + i) >> 11) * 0x1p-53;
    values[i] = static_cast<float>((2 * unit - 1) * std::sqrt(3.0) * deviation);
  }
  std::vector<std::byte> row(*quant::row_bytes(dtype, n));
  quant::encode_row(dtype, values.data(), row.data(), n);
  return row;
}

}  // namespace

std::vector<std::byte> random_rows(DType dtype, std::int64_t n_rows, std::int64_t n_in, double deviation,
                                   std::uint64_t seed) {
  const quant::FactorKind kind = quant::factor_kind(dtype);
  if (kind == quant::FactorKind::kNone) return encoded(dtype, n_rows * n_in, deviation, seed);
  Rows rows{dtype, n_rows, n_in, std::vector<std::byte>(*quant::tensor_bytes(dtype, n_in, n_rows))};
  for (std::size_t i = 0; i < rows.bytes.size(); i += sizeof seed) {
    const std::uint64_t word = mix64(seed + i);
    std::memcpy(rows.bytes.data() + i, &word, std::min(sizeof word, rows.bytes.size() - i));
  }
  // Factors from what the codes decode to with factor 1, so that no format's statistics are written down here.
  Rows sample = sample_of(rows);
  const double codes = moments(sample, 1, 0).mean;
  const double minima = kind == quant::FactorKind::kScale ? 0 : moments(sample, 0, 1).mean;
  const double ratio = minima == 0 ? 0 : -codes / minima;
  const double d = deviation / moments(sample, 1, ratio).deviation;
  rows.set_factors(d, ratio * d);
  return std::move(rows.bytes);
}

std::vector<std::byte> random_blocks(DType dtype, std::int64_t n_blocks, double deviation, std::uint64_t seed) {
  return random_rows(dtype, 1, n_blocks * quant::type_info(dtype).block_elements, deviation, seed);
}

}  // namespace dodeca::runtime
