#include "runtime/eval/statistics.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

using namespace dodeca::runtime;
using namespace dodeca::runtime::eval;

namespace {

std::vector<float> random_logits(std::size_t n, std::uint32_t seed, float spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> out(n);
  for (float& x : out) x = normal(random);
  return out;
}

// Straight from the definitions, in long double.
std::vector<long double> log_probs(const std::vector<float>& logits) {
  long double sum = 0;
  for (const float l : logits) sum += std::exp(static_cast<long double>(l));
  std::vector<long double> out;
  for (const float l : logits) out.push_back(static_cast<long double>(l) - std::log(sum));
  return out;
}

std::vector<std::uint16_t> packed(const std::vector<float>& logits) {
  std::vector<std::uint16_t> row(static_cast<std::size_t>(packed_row_size(static_cast<std::int64_t>(logits.size()))),
                                 0xFFFF);
  pack_row(logits, row);
  return row;
}

double number_after(const std::string& text, const std::string& label) {
  const std::size_t at = text.find(label);
  REQUIRE_MESSAGE(at != std::string::npos, label);
  return std::stod(text.substr(at + label.size()));
}

}  // namespace

TEST_CASE("log-probabilities agree with the definition, at extremes too") {
  const auto logits = random_logits(5000, 1, 5.0f);
  const auto want = log_probs(logits);
  for (std::size_t i = 0; i < logits.size(); i += 97) {
    CHECK(negative_log_likelihood(logits, static_cast<std::int32_t>(i)) ==
          doctest::Approx(static_cast<double>(-want[i])).epsilon(1e-7));
  }
  const std::vector<float> big{1e4f, 1e4f, -1e30f}, one{3.0f};
  CHECK(negative_log_likelihood(big, 0) == doctest::Approx(std::log(2.0)));
  CHECK(negative_log_likelihood(big, 2) == doctest::Approx(1e30));
  CHECK(negative_log_likelihood(one, 0) == 0.0);
  const std::vector<float> nan{1.0f, std::nanf(""), 2.0f};
  CHECK(std::isnan(negative_log_likelihood(nan, 0)));
}

TEST_CASE("packed rows keep log-probabilities to half a step, down to 16 below the top") {
  for (const std::size_t n : {1u, 2u, 7u, 1000u}) {
    const auto logits = random_logits(n, static_cast<std::uint32_t>(n), 6.0f);
    const auto want = log_probs(logits);
    const auto row = packed(logits);
    CHECK(row.size() == (n % 2 == 0 ? n : n + 1) + 4);
    if (n % 2 == 1) CHECK(row.back() == 0);
    const PackedRow base = unpack_row(row, static_cast<std::int64_t>(n));
    const float top = *std::max_element(logits.begin(), logits.end());
    for (std::size_t i = 0; i < n; ++i) {
      const double wanted = logits[i] < top - 16.0f ? static_cast<double>(want[i]) + (top - 16.0f - logits[i])
                                                    : static_cast<double>(want[i]);
      CHECK(std::fabs(base.log_prob(i) - wanted) <= 0.5 * base.scale + 1e-5);
    }
    CHECK(base.scale <= 16.0f / 65535.0f * 1.00001f);
  }
  const std::vector<float> equal(4, 2.0f);
  const auto row = packed(equal);
  const PackedRow base = unpack_row(row, 4);
  CHECK(base.scale == 0.0f);
  CHECK(base.log_prob(3) == doctest::Approx(-std::log(4.0)));
}

TEST_CASE("perplexity and its error") {
  Perplexity p;
  for (const double nll : {1.0, 2.0, 4.0, 1.0}) p.add(nll);
  CHECK(p.count() == 4);
  CHECK(p.value() == doctest::Approx(std::exp(2.0)));
  CHECK(p.error() == doctest::Approx(std::exp(2.0) * std::sqrt((22.0 / 4 - 4.0) / 3)));
  Perplexity one;
  one.add(1.0);
  CHECK(one.error() == 0.0);
}

TEST_CASE("divergence of a row is the sum over the base distribution") {
  const auto q = random_logits(300, 2, 3.0f), b = random_logits(300, 3, 3.0f);
  const auto row = packed(b);
  const PackedRow base = unpack_row(row, 300);
  const Divergence d = diverge(q, base, 17);
  const auto want_q = log_probs(q);
  long double kld = 0;
  for (std::size_t i = 0; i < q.size(); ++i) {
    const long double log_base = base.log_prob(i);
    if (log_base > -16) kld += std::exp(log_base) * (log_base - want_q[i]);
  }
  CHECK(d.kld == doctest::Approx(static_cast<double>(kld)).epsilon(1e-6));
  CHECK(d.nll == doctest::Approx(static_cast<double>(-want_q[17])).epsilon(1e-7));
  CHECK(d.nll_base == doctest::Approx(static_cast<double>(-log_probs(b)[17])).epsilon(1e-4));
  CHECK(d.p_diff == doctest::Approx(std::exp(-d.nll) - std::exp(-d.nll_base)));
  const auto top_of = [](const std::vector<float>& v) { return std::max_element(v.begin(), v.end()) - v.begin(); };
  CHECK(d.same_top == (top_of(q) == top_of(b)));
  const Divergence self = diverge(b, base, 17);
  CHECK(std::fabs(self.kld) < 5e-5);  // what 16 bits leave
  CHECK(self.same_top);
}

TEST_CASE("the summary has the headings and the numbers") {
  DivergenceStatistics s;
  double sum_kld = 0, nll = 0, base = 0, squares = 0;
  std::mt19937 random(5);
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  for (int i = 0; i < 101; ++i) {
    Divergence d;
    d.kld = i * 0.01;
    d.nll_base = 2.0 + uniform(random);
    d.nll = d.nll_base + 0.1;
    d.p_diff = (i - 50) * 0.001;
    d.same_top = i % 4 != 0;
    sum_kld += d.kld;
    nll += d.nll;
    base += d.nll_base;
    squares += d.p_diff * d.p_diff;
    s.add(d);
  }
  const std::string text = s.summary();
  CHECK(number_after(text, "Mean PPL(Q)                   :") == doctest::Approx(std::exp(nll / 101)).epsilon(1e-6));
  CHECK(number_after(text, "Mean PPL(base)                :") == doctest::Approx(std::exp(base / 101)).epsilon(1e-6));
  CHECK(number_after(text, "Cor(ln(PPL(Q)), ln(PPL(base))):") == doctest::Approx(100.0));
  CHECK(number_after(text, "Mean ln(PPL(Q)/PPL(base))     :") == doctest::Approx(0.1));
  CHECK(number_after(text, "Mean PPL(Q)/PPL(base)         :") == doctest::Approx(std::exp(0.1)).epsilon(1e-5));
  CHECK(number_after(text, "Mean PPL(Q)-PPL(base)         :") ==
        doctest::Approx(std::exp(nll / 101) - std::exp(base / 101)).epsilon(1e-5));
  CHECK(number_after(text, "Mean    KLD:") == doctest::Approx(0.5));
  CHECK(number_after(text, "Maximum KLD:") == doctest::Approx(1.0));
  CHECK(number_after(text, "99.9%   KLD:") == doctest::Approx(0.999));
  CHECK(number_after(text, "95.0%   KLD:") == doctest::Approx(0.95));
  CHECK(number_after(text, "Median  KLD:") == doctest::Approx(0.5));
  CHECK(number_after(text, " 5.0%   KLD:") == doctest::Approx(0.05));
  CHECK(number_after(text, "Minimum KLD:") == doctest::Approx(0.0));
  CHECK(number_after(text, "75.0%   Δp:") == doctest::Approx(2.5));
  CHECK(number_after(text, "Minimum Δp:") == doctest::Approx(-5.0));
  CHECK(number_after(text, "RMS Δp    :") == doctest::Approx(100 * std::sqrt(squares / 101)).epsilon(1e-3));
  CHECK(number_after(text, "Same top p:") == doctest::Approx(75.0 / 101 * 100).epsilon(1e-4));
  CHECK(s.mean_kld() == doctest::Approx(sum_kld / 101));
  for (const char* heading : {"====== Perplexity statistics ======\n", "\n\n====== KL divergence statistics ======\n",
                              "\n\n====== Token probability statistics ======\n"}) {
    CHECK(text.find(heading) != std::string::npos);
  }
  CHECK(s.chunk_line(3).substr(0, 8) == "   3    ");
  CHECK(text.find("nan") == std::string::npos);
}

TEST_CASE("identical models give zeros, never nan") {
  DivergenceStatistics s;
  for (int i = 0; i < 200; ++i) s.add({1.0, 1.0, 0.0, 0.0, true});
  CHECK(s.summary().find("nan") == std::string::npos);
  CHECK(s.chunk_line(1).find("nan") == std::string::npos);
  CHECK(number_after(s.summary(), "Same top p:") == 100.0);
}
