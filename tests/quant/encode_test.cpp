// How near the encoders' searches come to the best there is, found by trying everything.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "quant/codec.hpp"
#include "quant/encode/ternary_boxes.hpp"
#include "quant/float_types.hpp"
#include "quant/formats/formats.hpp"
#include "quant/iq_grids.hpp"

using namespace dodeca::quant;

namespace {

std::vector<float> values(std::size_t n, std::mt19937& random, bool heavy) {
  std::normal_distribution<float> normal;
  std::vector<float> v(n);
  for (float& x : v) {
    x = normal(random);
    if (heavy) x *= std::fabs(x);
  }
  return v;
}

double encoded_error(DType dtype, const std::vector<float>& x, const float* w) {
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<std::byte> bytes(*row_bytes(dtype, n));
  std::vector<float> y(x.size());
  encode_row(dtype, x.data(), bytes.data(), n, w);
  decode_row(dtype, bytes.data(), y.data(), n);
  double error = 0;
  for (std::size_t i = 0; i < x.size(); ++i) error += (w ? w[i] : 1.0) * std::pow(static_cast<double>(y[i]) - x[i], 2);
  return error;
}

// The least error of 32 weights over every finite f16 scale, each weight at its nearest level.
double best_error(const std::vector<float>& levels, const std::vector<float>& x, const float* w) {
  double best = 1e30;
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const float d = f16_to_f32(static_cast<std::uint16_t>(bits));
    if (!(std::fabs(d) > 1e-4f && std::fabs(d) < 10.0f)) continue;
    double error = 0;
    for (std::size_t i = 0; i < x.size() && error < best; ++i) {
      const float v = x[i] / d;
      const auto above = std::lower_bound(levels.begin(), levels.end() - 1, v);
      const float nearest = above != levels.begin() && v - above[-1] < *above - v ? above[-1] : *above;
      error += (w ? w[i] : 1.0) * std::pow(static_cast<double>(d) * nearest - x[i], 2);
    }
    best = std::min(best, error);
  }
  return best;
}

std::vector<float> whole_levels(int least, int most) {
  std::vector<float> levels;
  for (int l = least; l <= most; ++l) levels.push_back(static_cast<float>(l));
  return levels;
}

}  // namespace

TEST_CASE("blocks of 32 with one scale: close to the best of all f16 scales") {
  struct Case {
    DType dtype;
    std::vector<float> levels;
    double plain, weighted;  // how much worse the mean error may be
  };
  const Case cases[] = {
      {DType::kQ4_0, whole_levels(-8, 7), 1.02, 1.01},
      {DType::kQ5_0, whole_levels(-16, 15), 1.03, 1.01},
      {DType::kQ8_0, whole_levels(-127, 127), 1.4, 1.45},
      {DType::kIQ4_NL, {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}, 1.02, 1.08},
  };
  std::mt19937 random(3);
  for (const Case& c : cases) {
    CAPTURE(name_of(c.dtype));
    double got = 0, best = 0, weighted_got = 0, weighted_best = 0;
    for (int trial = 0; trial < 6; ++trial) {
      const std::vector<float> x = values(32, random, trial % 2);
      std::vector<float> w = values(32, random, false);
      for (float& v : w) v = std::exp(v);
      const double limit = best_error(c.levels, x, nullptr), weighted_limit = best_error(c.levels, x, w.data());
      const double error = encoded_error(c.dtype, x, nullptr), weighted_error = encoded_error(c.dtype, x, w.data());
      CHECK(error >= limit * 0.9999);
      CHECK(weighted_error >= weighted_limit * 0.9999);
      got += error / limit;
      best += 1;
      weighted_got += weighted_error / weighted_limit;
      weighted_best += 1;
    }
    CHECK(got <= c.plain * best);
    CHECK(weighted_got <= c.weighted * weighted_best);
  }
}

// With d and dmin as encoded, every pair of a sub-block's scale and minimum is tried: the encoder's must be nearly the
// best of them.
TEST_CASE("Q2_K: sub-block scales and minima are close to the best of all pairs") {
  std::mt19937 random(4);
  double got = 0, best_total = 0;
  for (int trial = 0; trial < 6; ++trial) {
    const std::vector<float> x = values(256, random, trial % 2);
    std::vector<float> w = values(256, random, false);
    for (float& v : w) v = std::exp(v);
    const float* weights = trial < 3 ? nullptr : w.data();
    BlockQ2_K block;
    std::vector<std::byte> bytes(sizeof block);
    encode_row(DType::kQ2_K, x.data(), bytes.data(), 256, weights);
    std::memcpy(&block, bytes.data(), sizeof block);
    const float d = f16_to_f32(block.d), dmin = f16_to_f32(block.dmin);
    got += encoded_error(DType::kQ2_K, x, weights);
    for (std::size_t sub = 0; sub < 16; ++sub) {
      double best = 1e30;
      for (int pair = 0; pair < 256; ++pair) {
        const auto low = pair % 16, high = pair / 16;
        const float scale = d * static_cast<float>(low), min = dmin * static_cast<float>(high);
        double error = 0;
        for (std::size_t i = 16 * sub; i < 16 * sub + 16; ++i) {
          double nearest = 1e30;
          for (int l = 0; l < 4; ++l) {
            nearest = std::min(nearest, std::pow(static_cast<double>(scale * static_cast<float>(l) - min) - x[i], 2));
          }
          error += nearest * (weights ? weights[i] : 1.0);
        }
        best = std::min(best, error);
      }
      best_total += best;
    }
  }
  CHECK(got >= best_total * 0.9999);
  CHECK(got <= best_total * 1.07);
}

TEST_CASE("ternary boxes: none is empty, and every point is where its signs and set say") {
  for (unsigned box = 0; box < 256; ++box) {
    unsigned points = 0;
    for (unsigned set = 0; set < 256; ++set) {
      if (!(kTernaryBoxes.members[box][set >> 4] >> (set & 15) & 1)) continue;
      ++points;
      const std::int8_t* point = kIq1sGrid[kTernaryBoxes.point(box, set)];
      for (unsigned j = 0; j < 8; ++j) REQUIRE(point[j] == (set >> j & 1 ? (box >> j & 1 ? -1 : 1) : 0));
    }
    CHECK(points > 0);
  }
}

namespace {

// The least error of a sub-block on the IQ1 lattice for one scale, groups of `shared` weights having the same shift.
double best_ternary_error(const float* x, const float* w, std::size_t n, std::size_t shared, double scale) {
  double total = 0;
  for (std::size_t first = 0; first < n; first += shared) {
    double best = 1e30;
    for (const double shift : {-0.125, 0.125}) {
      double error = 0;
      for (std::size_t g = first; g < first + shared; g += 8) {
        double costs[8][3] = {}, least = 1e30;
        for (std::size_t j = 0; j < 8; ++j) {
          for (int t = -1; t <= 1; ++t) costs[j][t + 1] = w[g + j] * std::pow(scale * (t + shift) - x[g + j], 2);
        }
        for (std::uint32_t number = 0; number < 2048; ++number) {
          double cost = 0;
          for (std::size_t j = 0; j < 8; ++j) cost += costs[j][kIq1sGrid[number][j] + 1];
          least = std::min(least, cost);
        }
        error += least;
      }
      best = std::min(best, error);
    }
    total += best;
  }
  return total;
}

float stored_scale(DType dtype, const std::vector<std::byte>& bytes) {
  if (dtype == DType::kIQ1_S) {
    BlockIQ1_S block;
    std::memcpy(&block, bytes.data(), sizeof block);
    return f16_to_f32(block.d);
  }
  BlockIQ1_M block;
  std::memcpy(&block, bytes.data(), sizeof block);
  unsigned d = 0;
  for (int k = 0; k < 4; ++k) d |= static_cast<unsigned>(block.scales[k] >> 12) << (4 * k);
  return f16_to_f32(static_cast<std::uint16_t>(d));
}

}  // namespace

// With d as encoded, every scale, shift and point of each sub-block is tried.
TEST_CASE("IQ1_S, IQ1_M: scales, shifts and points are close to the best of all") {
  std::mt19937 random(6);
  struct Case {
    DType dtype;
    std::size_t sub, shared;
  };
  for (const Case& c : {Case{DType::kIQ1_S, 32, 32}, Case{DType::kIQ1_M, 16, 8}}) {
    CAPTURE(name_of(c.dtype));
    double got = 0, best_total = 0;
    for (int trial = 0; trial < 4; ++trial) {
      const std::vector<float> x = values(256, random, trial % 2);
      std::vector<float> w = values(256, random, false);
      for (float& v : w) v = trial < 2 ? 1.0f : std::exp(v);
      std::vector<std::byte> bytes(*row_bytes(c.dtype, 256));
      encode_row(c.dtype, x.data(), bytes.data(), 256, trial < 2 ? nullptr : w.data());
      got += encoded_error(c.dtype, x, trial < 2 ? nullptr : w.data());
      for (std::size_t sub = 0; sub < 256; sub += c.sub) {
        double best = 1e30;
        for (int code = 0; code < 8; ++code) {
          const double scale = static_cast<double>(stored_scale(c.dtype, bytes)) * (2 * code + 1);
          best = std::min(best, best_ternary_error(&x[sub], &w[sub], c.sub, c.shared, scale));
        }
        best_total += best;
      }
    }
    CHECK(got >= best_total * 0.9999);
    CHECK(got <= best_total * 1.01);
  }
}

TEST_CASE("importance decides where the error goes") {
  std::mt19937 random(5);
  const std::vector<float> x = values(2048, random, false);
  std::vector<float> w(2048, 1.0f);
  for (std::size_t i = 0; i < w.size(); i += 8) w[i] = 1000.0f;
  for (const DType dtype :
       {DType::kQ2_K,   DType::kQ3_K,  DType::kQ4_K,    DType::kQ5_K,   DType::kQ6_K,   DType::kQ4_0,   DType::kQ4_1,
        DType::kQ5_0,   DType::kQ5_1,  DType::kQ8_0,    DType::kIQ4_NL, DType::kIQ4_XS, DType::kIQ4_KS, DType::kIQ2_XXS,
        DType::kIQ2_XS, DType::kIQ2_S, DType::kIQ3_XXS, DType::kIQ3_S,  DType::kIQ1_S,  DType::kIQ1_M}) {
    CAPTURE(name_of(dtype));
    std::vector<std::byte> plain(*row_bytes(dtype, 2048)), weighted(plain.size());
    encode_row(dtype, x.data(), plain.data(), 2048);
    encode_row(dtype, x.data(), weighted.data(), 2048, w.data());
    std::vector<float> y(2048);
    const auto heavy_error = [&](const std::vector<std::byte>& bytes) {
      decode_row(dtype, bytes.data(), y.data(), 2048);
      double error = 0;
      for (std::size_t i = 0; i < y.size(); i += 8) error += std::pow(y[i] - x[i], 2);
      return error;
    };
    CHECK(heavy_error(weighted) < 0.8 * heavy_error(plain));
    // Only proportions count.
    for (float& v : w) v *= 0.25f;
    encode_row(dtype, x.data(), plain.data(), 2048, w.data());
    for (float& v : w) v *= 4.0f;
    CHECK(plain == weighted);
  }
}
