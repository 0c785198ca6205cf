#include "cpu/kernels/index/index.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "cpu/memory.hpp"
#include "tests/support/kernel_variants.hpp"
#include "tests/support/random_values.hpp"

using namespace dodeca;
using cpu::IndexNumbers;
using cpu::IndexShape;
using tests::random_values;

namespace {

struct Case {
  IndexShape shape;
  std::int64_t n;
  std::vector<float> queries, weights, keys;
  cpu::Buffer strips, rows;

  Case(const IndexShape& s, std::int64_t n_positions, unsigned seed, float spread = 1.0f)
      : shape(s),
        n(n_positions),
        queries(random_values(static_cast<std::size_t>(s.n_heads * s.head_dim), seed)),
        weights(random_values(static_cast<std::size_t>(s.n_heads), seed + 1)),
        keys(random_values(static_cast<std::size_t>(n_positions * s.head_dim), seed + 2)),
        strips(static_cast<std::size_t>(s.strips()) * cpu::index_strip_bytes(s)),
        rows(static_cast<std::size_t>(n_positions) * cpu::index_row_bytes(s)) {
    for (float& x : keys) x *= spread;
    std::fill_n(strips.data(), strips.size(), std::byte{0xff});  // lanes without a head must be cleared
    for (std::int64_t h = 0; h < s.n_heads; ++h)
      cpu::pack_index_query(s, h, queries.data() + h * s.head_dim, weights[h], strips.data());
    for (std::int64_t i = 0; i < n; ++i)
      cpu::encode_index_row(s, keys.data() + i * s.head_dim,
                            rows.data() + static_cast<std::size_t>(i) * cpu::index_row_bytes(s));
  }
  std::vector<float> scores(cpu::IndexScoreFn* run) const {
    std::vector<float> out(static_cast<std::size_t>(n) + 1, -7.0f);
    run({.shape = shape, .queries = strips.data(), .keys = rows.data(), .n = n, .scores = out.data()});
    CHECK(out.back() == -7.0f);
    out.pop_back();
    return out;
  }
  double exact(std::int64_t i, double* magnitude) const {
    double score = 0;
    *magnitude = 0;
    for (std::int64_t h = 0; h < shape.n_heads; ++h) {
      double dot = 0, q2 = 0, k2 = 0;
      for (std::int64_t d = 0; d < shape.head_dim; ++d) {
        const double q = queries[h * shape.head_dim + d], k = keys[i * shape.head_dim + d];
        dot += q * k;
        q2 += q * q;
        k2 += k * k;
      }
      score += weights[h] * std::max(dot, 0.0);
      *magnitude += std::abs(weights[h]) * std::sqrt(q2 * k2);
    }
    return score;
  }
};

std::vector<std::int32_t> sorted_choice(const std::vector<float>& scores, std::int64_t k) {
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) { return scores[a] > scores[b]; });
  order.resize(static_cast<std::size_t>(k));
  std::ranges::sort(order);
  return order;
}

// By every level that differs.
std::vector<std::int32_t> chosen(std::vector<float> scores, std::int64_t k) {
  const std::int64_t n = std::ssize(scores);
  scores.resize(scores.size() + cpu::kChooseSlack, 1e30f);  // what lies behind does not count
  std::vector<std::int32_t> first;
  for (const cpu::Isa isa : {cpu::Isa(cpu::Isa::kScalar), cpu::host_isa()}) {
    std::vector<std::int32_t> scratch(scores.size()), result(static_cast<std::size_t>(k) + 1, -7);
    cpu::choose_highest({scores.data(), n, k, scratch.data(), result.data()}, isa);
    CHECK(result.back() == -7);
    result.pop_back();
    if (!first.empty()) CHECK(result == first);
    first = result;
  }
  return first;
}

}  // namespace

TEST_CASE("index scores: the scalar variant is the formula, in words and in floats") {
  for (const IndexNumbers numbers : {IndexNumbers::kWords, IndexNumbers::kFloats}) {
    for (const IndexShape shape :
         {IndexShape{numbers, 32, 128}, {numbers, 64, 128}, {numbers, 1, 2}, {numbers, 17, 22}}) {
      const Case c(shape, 70, 5, 100.0f);
      const std::vector<float> got = c.scores(cpu::index_scores_kernels().front().run);
      for (std::int64_t i = 0; i < c.n; ++i) {
        double magnitude = 0;
        const double want = c.exact(i, &magnitude);
        // A number of a word is off by half a step, and 46300 steps are the norm of a row: a product of two rows is off
        // by that for each of them and dimension, of random sign.
        const double bound = numbers == IndexNumbers::kWords ? 4e-5 : 1e-6;
        CHECK(std::abs(got[i] - want) <= bound * magnitude);
      }
    }
  }
}

TEST_CASE("index scores: every variant gives the scalar bits") {
  const auto variants = cpu::index_scores_kernels();
  for (const auto& variant : variants) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    for (const IndexNumbers numbers : {IndexNumbers::kWords, IndexNumbers::kFloats}) {
      for (const std::int64_t heads : {1, 2, 15, 16, 17, 32, 33, 48, 64}) {
        for (const std::int64_t dim : {2, 6, 22, 64, 128}) {
          for (const std::int64_t n : {0, 1, 5, 6, 7, 13, 64}) {
            const Case c({numbers, heads, dim}, n, static_cast<unsigned>(heads * 100 + dim + n));
            const std::vector<float> want = c.scores(variants.front().run), got = c.scores(variant.run);
            CHECK_MESSAGE(tests::same_bits(got.data(), want.data(), got.size()), variant.name, " heads ", heads,
                          " dim ", dim, " n ", n);
          }
        }
      }
    }
  }
}

TEST_CASE("index scores: rows of equal, of huge and of vanishing numbers give their products, or end as floats do") {
  for (const auto& variant : cpu::index_scores_kernels()) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    for (const float value : {1.0f, 3e38f, 1e-30f, 0.0f}) {
      Case c({IndexNumbers::kWords, 16, 128}, 8, 1);
      std::ranges::fill(c.keys, value);
      std::ranges::fill(c.queries, value);
      for (std::int64_t h = 0; h < 16; ++h)
        cpu::pack_index_query(c.shape, h, c.queries.data() + h * 128, 1.0f, c.strips.data());
      for (std::int64_t i = 0; i < c.n; ++i)
        cpu::encode_index_row(c.shape, c.keys.data() + i * 128,
                              c.rows.data() + static_cast<std::size_t>(i) * cpu::index_row_bytes(c.shape));
      // 16 heads of 128 products; beyond the range of float32 infinity or 0.
      const auto want = static_cast<float>(16.0 * 128.0 * value * value);
      for (const float score : c.scores(variant.run)) {
        if (std::isfinite(want) && want > 0.0f)
          CHECK(score == doctest::Approx(want).epsilon(2e-4));  // two words of 12 bits, each off by half a step
        else
          CHECK(score == want);
      }
    }
  }
}

TEST_CASE("the highest scores are those of a stable sort, whatever their bits") {
  for (const std::int64_t n : {1, 2, 7, 64, 1000, 5000, 33001}) {
    for (const std::int64_t k : {std::int64_t{1}, n / 16, n / 3 + 1, n - 1, n}) {
      if (k < 1) continue;
      std::vector<float> scores = random_values(static_cast<std::size_t>(n), static_cast<unsigned>(n + k));
      CHECK(chosen(scores, k) == sorted_choice(scores, k));
      for (float& s : scores) s = std::round(s * 4) / 4;  // many equal ones, of both signs
      for (float& s : scores) s += 0.0f;                  // no negative zero, which is below a positive one
      CHECK(chosen(scores, k) == sorted_choice(scores, k));
      for (std::size_t i = 0; i < scores.size(); ++i)  // that differ in their last bits alone
        scores[i] = std::bit_cast<float>(0x3f800000u + static_cast<unsigned>(i * 7919 % 13));
      CHECK(chosen(scores, k) == sorted_choice(scores, k));
      for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = i % 16 == 0 ? 2.0f : 1.0f;  // a sample misleads
      CHECK(chosen(scores, k) == sorted_choice(scores, k));
      std::ranges::fill(scores, 0.0f);
      CHECK(chosen(scores, k) == sorted_choice(scores, k));
    }
  }
}

TEST_CASE("scores that are no numbers do no harm") {
  std::vector<float> scores = random_values(100, 3);
  scores[5] = std::numeric_limits<float>::quiet_NaN();
  scores[6] = std::numeric_limits<float>::infinity();
  scores[7] = -std::numeric_limits<float>::infinity();
  const std::vector<std::int32_t> result = chosen(scores, 10);
  CHECK(std::ranges::is_sorted(result));
  CHECK(std::ranges::count(result, 6) == 1);
  CHECK(std::ranges::count(result, 7) == 0);
}
