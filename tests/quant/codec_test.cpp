#include "quant/codec.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"

using namespace dodeca::quant;

namespace {

constexpr std::int64_t kRow = 2048;

// Bell-shaped values of about unit variance, the same on every machine.
class Values {
 public:
  float next() {
    double total = 0;
    for (int i = 0; i < 4; ++i) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      total += static_cast<double>(state_ >> 40) * 0x1p-24 - 0.5;
    }
    return static_cast<float>(total * 1.7320508);
  }
  std::vector<float> row(std::int64_t n, float scale = 1) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& value : values) value = scale * next();
    return values;
  }

 private:
  std::uint64_t state_ = 12345;
};

std::vector<std::byte> encoded(DType dtype, const std::vector<float>& row, const float* importance = nullptr) {
  const auto n = static_cast<std::int64_t>(row.size());
  std::vector<std::byte> bytes(*row_bytes(dtype, n));
  encode_row(dtype, row.data(), bytes.data(), n, importance);
  return bytes;
}

std::vector<float> decoded(DType dtype, const std::vector<std::byte>& bytes, std::size_t n) {
  std::vector<float> values(n, NAN);
  decode_row(dtype, bytes.data(), values.data(), static_cast<std::int64_t>(n));
  return values;
}

std::vector<float> round_trip(DType dtype, const std::vector<float>& row, const float* importance = nullptr) {
  return decoded(dtype, encoded(dtype, row, importance), row.size());
}

double relative_error(const std::vector<float>& got, const std::vector<float>& want, const float* weights = nullptr) {
  double error = 0, size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double w = weights ? weights[i] : 1, difference = static_cast<double>(got[i]) - want[i];
    error += w * difference * difference;
    size += w * static_cast<double>(want[i]) * want[i];
  }
  return std::sqrt(error / size);
}

// Relative rms error of ggml's own quantizers (August 2026) on 64 rows of Values, without and with the importance
// below.
struct Reference {
  DType dtype;
  double plain, weighted;
};
constexpr Reference kReferences[] = {
    {DType::kQ4_0, 0.081819, 0.0758748},  {DType::kQ4_1, 0.0755406, 0.0652543},   {DType::kQ5_0, 0.0404956, 0.0375032},
    {DType::kQ5_1, 0.0365578, 0.0315321}, {DType::kQ8_0, 0.00508263, 0.00508824}, {DType::kQ2_K, 0.288335, 0.249175},
    {DType::kQ3_K, 0.145999, 0.135764},   {DType::kQ4_K, 0.0688867, 0.0660558},   {DType::kQ5_K, 0.0347627, 0.0331249},
    {DType::kQ6_K, 0.0170687, 0.0162273}, {DType::kIQ4_NL, 0.0738688, 0.0710681},
};

// What the other encoders here reached on 8 rows (November 2026; ggml's lattices want importance always).
constexpr double kSlack = 1.1;
constexpr Reference kReached[] = {
    {DType::kIQ2_XXS, 0.324513, 0.295004}, {DType::kIQ2_XS, 0.282065, 0.257886}, {DType::kIQ2_S, 0.233536, 0.219094},
    {DType::kIQ3_XXS, 0.17409, 0.157718},  {DType::kIQ3_S, 0.126327, 0.117401},  {DType::kIQ4_XS, 0.0719222, 0.0698966},
    {DType::kIQ1_S, 0.43316, 0.414778},    {DType::kIQ1_M, 0.404454, 0.378922},  {DType::kIQ4_KS, 0.06917, 0.0667152},
};

std::vector<float> test_importance() {
  std::vector<float> importance(kRow);
  for (std::size_t i = 0; i < importance.size(); ++i) importance[i] = static_cast<float>(1 + i * i % 37);
  return importance;
}

Reference reached(DType dtype, int n_rows) {
  const std::vector<float> importance = test_importance();
  Values values;
  double plain = 0, weighted = 0;
  for (int row = 0; row < n_rows; ++row) {
    const std::vector<float> x = values.row(kRow);
    plain += std::pow(relative_error(round_trip(dtype, x), x), 2) / n_rows;
    weighted += std::pow(relative_error(round_trip(dtype, x, importance.data()), x, importance.data()), 2) / n_rows;
  }
  return {dtype, std::sqrt(plain), std::sqrt(weighted)};
}

std::vector<DType> encodable_types() {
  std::vector<DType> types;
  for (const TypeInfo& type : all_types()) {
    if (type.encodable) types.push_back(type.dtype);
  }
  return types;
}

}  // namespace

TEST_CASE("encoders are better than ggml's") {
  for (const Reference& reference : kReferences) {
    CAPTURE(name_of(reference.dtype));
    const Reference got = reached(reference.dtype, 64);
    CHECK(got.plain <= reference.plain * 0.98);
    CHECK(got.weighted <= reference.weighted * 0.998);
  }
}

TEST_CASE("encoders on lattices come as close as they did") {
  for (const Reference& reference : kReached) {
    CAPTURE(name_of(reference.dtype));
    const Reference got = reached(reference.dtype, 8);
    CHECK(got.plain <= reference.plain * kSlack);
    CHECK(got.weighted <= reference.weighted * kSlack);
    // Sums over such values and weights have squares beyond the largest float: no reason to choose worse.
    const std::vector<float> x = Values().row(kRow, 1e5f), one(kRow, 1.0f), large(kRow, 1e18f);
    CHECK(relative_error(round_trip(reference.dtype, x, large.data()), x) <=
          relative_error(round_trip(reference.dtype, x, one.data()), x) * 1.002);
  }
}

TEST_CASE("Q8_0 in one rounding: half a step, and the scale's own rounding") {
  Values values;
  const std::vector<float> x = values.row(kRow);
  std::vector<std::byte> bytes(*row_bytes(DType::kQ8_0, kRow));
  encode_row_once(DType::kQ8_0, x.data(), bytes.data(), kRow);
  const std::vector<float> y = decoded(DType::kQ8_0, bytes, x.size());
  for (std::size_t block = 0; block < x.size(); block += 32) {
    float amax = 0;
    for (std::size_t i = block; i < block + 32; ++i) amax = std::max(amax, std::fabs(x[i]));
    const float step = amax / 127;
    for (std::size_t i = block; i < block + 32; ++i)
      REQUIRE(std::fabs(y[i] - x[i]) <= 0.501f * step + std::fabs(x[i]) * 0x1p-11f);
  }
}

TEST_CASE("plain types keep what they can hold") {
  Values values;
  const std::vector<float> x = values.row(kRow);
  CHECK(round_trip(DType::kF32, x) == x);
  const std::vector<float> half = round_trip(DType::kF16, x), brain = round_trip(DType::kBF16, x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    REQUIRE(half[i] == f16_to_f32(f32_to_f16(x[i])));
    REQUIRE(brain[i] == bf16_to_f32(f32_to_bf16(x[i])));
  }
  const std::vector<float> large = {3e38f, -3e38f, 65504.0f, 1e5f};
  CHECK(round_trip(DType::kF16, large) == std::vector<float>{65504.0f, -65504.0f, 65504.0f, 65504.0f});
  CHECK(std::isfinite(round_trip(DType::kBF16, {std::numeric_limits<float>::max()})[0]));
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    CHECK(std::isnan(round_trip(dtype, {NAN})[0]));
    CHECK(round_trip(dtype, {-INFINITY})[0] == -INFINITY);
  }
}

TEST_CASE("FP8 rows: exact where the values are FP8 multiples of the scale, otherwise within half a step") {
  std::vector<float> row(256);
  for (std::size_t i = 0; i < 256; ++i) {
    const auto code = static_cast<std::uint8_t>((i & 0x7f) == 0x7f ? i - 1 : i);
    row[i] = e4m3_to_f32(code) * 0.0625f;
  }
  CHECK(round_trip(DType::kF8_E4M3_B128, row) == row);
  Values values;
  const std::vector<float> x = values.row(kRow);
  const std::vector<float> y = round_trip(DType::kF8_E4M3_B128, x);
  for (std::size_t i = 0; i < x.size(); ++i) REQUIRE(std::fabs(x[i] - y[i]) <= std::fabs(x[i]) / 16 + 4e-5f);
}

TEST_CASE("Q8_K: the extreme is exact, sums of sixteen are right") {
  Values values;
  const std::vector<float> x = values.row(256);
  BlockQ8_K block;
  std::memcpy(&block, encoded(DType::kQ8_K, x).data(), sizeof block);
  float extreme = 0;
  for (const float v : x) extreme = std::fabs(v) > std::fabs(extreme) ? v : extreme;
  CHECK((block.d < 0) == (extreme > 0));
  for (std::size_t g = 0; g < 16; ++g) {
    int total = 0;
    for (std::size_t i = 0; i < 16; ++i) total += block.qs[16 * g + i];
    CHECK(block.bsums[g] == total);
  }
  CHECK(relative_error(round_trip(DType::kQ8_K, x), x) < 0.008);
}

TEST_CASE("zeros, tiny, denormal, equal and huge rows encode to finite values") {
  Values values;
  struct Row {
    std::string name;
    std::vector<float> values;
  };
  std::vector<Row> rows;
  rows.reserve(32);
  rows.push_back({"zeros", std::vector<float>(256, 0.0f)});
  rows.push_back({"negative zeros", std::vector<float>(256, -0.0f)});
  rows.push_back({"ones", std::vector<float>(256, 1.0f)});
  rows.push_back({"minus ones", std::vector<float>(256, -1.0f)});
  for (const float scale : {1e-45f, 1e-40f, 1e-38f, 1e-20f, 1e-10f, 1e-7f, 1e5f, 1e10f, 1e20f, 5e37f}) {
    rows.push_back({"scale " + std::to_string(std::log10(scale)), values.row(256, scale)});
  }
  rows.push_back({"largest", std::vector<float>(256, std::numeric_limits<float>::max())});
  std::vector<float> mixed = values.row(256);
  mixed[3] = std::numeric_limits<float>::max();
  mixed[200] = -std::numeric_limits<float>::max();
  mixed[77] = std::numeric_limits<float>::denorm_min();
  rows.push_back({"mixed", mixed});
  std::vector<float> single(256, 0.0f);
  single[100] = -3.5f;
  rows.push_back({"single", single});

  std::vector<std::vector<float>> importances = {std::vector<float>(256, 1.0f), std::vector<float>(256, 0.0f),
                                                 std::vector<float>(256, 1e20f), std::vector<float>(256, 1e-20f)};
  for (const DType dtype : encodable_types()) {
    for (const auto& [name, row] : rows) {
      CAPTURE(name_of(dtype));
      CAPTURE(name);
      const std::vector<std::byte> bytes = encoded(dtype, row);
      REQUIRE(find_non_finite(dtype, bytes.data(), 256) == -1);
      for (const float y : decoded(dtype, bytes, 256)) REQUIRE(std::isfinite(y));
      for (const auto& importance : importances) {
        for (const float y : round_trip(dtype, row, importance.data())) REQUIRE(std::isfinite(y));
      }
    }
    for (const float y : round_trip(dtype, rows[0].values)) REQUIRE(y == 0);
    // Lattices have no zero, and not every point that equal weights would want.
    const bool lattice = name_of(dtype).starts_with("IQ") && !name_of(dtype).starts_with("IQ4");
    CHECK(relative_error(round_trip(dtype, rows[2].values), rows[2].values) < (lattice ? 0.35 : 0.01));
    CHECK(relative_error(round_trip(dtype, single), single) < (lattice ? 0.75 : 0.2));
  }
}

TEST_CASE("encoding is a function of the block alone, wherever the bytes lie") {
  Values values;
  const std::vector<float> x = values.row(512);
  for (const DType dtype : encodable_types()) {
    CAPTURE(name_of(dtype));
    const std::vector<std::byte> whole = encoded(dtype, x);
    std::vector<std::byte> shifted(whole.size() + 1);
    encode_row(dtype, x.data(), shifted.data() + 1, 512);
    CHECK(std::equal(whole.begin(), whole.end(), shifted.begin() + 1));
    const std::vector<std::byte> second = encoded(dtype, std::vector<float>(x.begin() + 256, x.end()));
    if (type_info(dtype).row_prefix_bytes == 0)  // otherwise the scale of the row ties its blocks together
      CHECK(std::equal(second.begin(), second.end(), whole.begin() + static_cast<std::ptrdiff_t>(whole.size() / 2)));
    std::vector<float> y(512);
    decode_row(dtype, shifted.data() + 1, y.data(), 512);
    CHECK(y == decoded(dtype, whole, 512));
  }
}

TEST_CASE("columns of a row, cut out with the row's prefix, decode to the same values") {
  Values values;
  const std::vector<float> x = values.row(1024);
  for (const DType dtype : encodable_types()) {
    CAPTURE(name_of(dtype));
    const std::vector<std::byte> row = encoded(dtype, x);
    const std::vector<float> whole = decoded(dtype, row, 1024);
    std::vector<std::byte> part(*row_bytes(dtype, 512));
    copy_columns(dtype, row.data(), 256, 768, part.data());
    std::vector<float> columns(512);
    decode_columns(dtype, row.data(), 256, 768, columns.data());
    CHECK(columns == std::vector<float>(whole.begin() + 256, whole.begin() + 768));
    CHECK(decoded(dtype, part, 512) == columns);
    std::vector<std::byte> two = row;
    two.insert(two.end(), row.begin(), row.end());
    std::vector<float> twice(2048);
    decode_rows(dtype, two.data(), 2, 1024, twice.data());
    CHECK(std::equal(whole.begin(), whole.end(), twice.begin() + 1024));
  }
}

TEST_CASE("find_non_finite: the first bad element of every decodable type") {
  for (const TypeInfo& type : all_types()) {
    if (!type.decodable) continue;
    CAPTURE(type.name);
    // Finite garbage first: all bytes zero.
    const std::int64_t n = 4 * kRow;
    std::vector<std::byte> bytes(*row_bytes(type.dtype, n));
    CHECK(find_non_finite(type.dtype, bytes.data(), n) == -1);
    if (type.row_prefix_bytes != 0) {  // the scale of the row is the only thing that can be broken
      for (const float scale : {NAN, INFINITY, 1e37f}) {
        if (type.row_prefix_bytes == 2 && scale == 1e37f) continue;  // no f16
        const std::uint16_t half = std::isnan(scale) ? 0x7e00 : 0x7c00;
        std::memset(bytes.data(), 0, bytes.size());
        std::memcpy(bytes.data(), type.row_prefix_bytes == 2 ? static_cast<const void*>(&half) : &scale,
                    static_cast<std::size_t>(type.row_prefix_bytes));
        CHECK(find_non_finite(type.dtype, bytes.data(), n) == 0);
      }
      continue;
    }
    // All ones in the third block (element 2 of plain types): NaN scales, or NaN itself.
    std::memset(bytes.data() + 2 * type.block_bytes, 0xff, static_cast<std::size_t>(type.block_bytes));
    CHECK(find_non_finite(type.dtype, bytes.data(), n) == 2 * type.block_elements);
    CHECK(find_non_finite(type.dtype, bytes.data(), 2 * type.block_elements) == -1);
  }
  const float infinite[] = {1, 2, 3, -INFINITY, NAN};
  std::byte bytes[sizeof infinite];
  std::memcpy(bytes, infinite, sizeof infinite);
  CHECK(find_non_finite(DType::kF32, bytes, 5) == 3);

  BlockF8_E4M3_B128 fp8{};
  fp8.scale = 1;
  fp8.qs[17] = 0xff;
  CHECK(find_non_finite(DType::kF8_E4M3_B128, reinterpret_cast<const std::byte*>(&fp8), 128) == 17);
  fp8.qs[17] = 0;
  fp8.qs[99] = 0x7e;
  fp8.scale = 1e37f;  // 448 times this overflows
  CHECK(find_non_finite(DType::kF8_E4M3_B128, reinterpret_cast<const std::byte*>(&fp8), 128) == 99);

  BlockQ2_K minimum{};
  minimum.dmin = 0x7c00;
  CHECK(find_non_finite(DType::kQ2_K, reinterpret_cast<const std::byte*>(&minimum), 256) == 0);
}
