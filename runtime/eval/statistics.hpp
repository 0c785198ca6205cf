// Perplexity, and divergence from a base model: the statistics of llama.cpp's perplexity tool, with its headings and
// widths.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/eval/log_probs.hpp"

namespace dodeca::runtime::eval {

// exp of the mean negative log-likelihood and the standard error of that.
class Perplexity {
 public:
  void add(double nll);
  std::int64_t count() const { return count_; }
  double value() const;
  double error() const;

 private:
  double sum_ = 0.0, sum_squares_ = 0.0;
  std::int64_t count_ = 0;
};

struct Divergence {
  double nll = 0.0, nll_base = 0.0;  // of the token that followed
  double kld = 0.0;                  // sum of p_base * (log p_base - log p) over tokens with log p_base > -16
  double p_diff = 0.0;               // p - p_base of the token that followed
  bool same_top = false;
};
Divergence diverge(std::span<const float> logits, const PackedRow& base, std::int32_t target);

class DivergenceStatistics {
 public:
  void add(const Divergence& d);
  std::int64_t count() const { return static_cast<std::int64_t>(klds_.size()); }
  static std::string chunk_heading();
  std::string chunk_line(std::int64_t chunk) const;  // 1-based; over all that was added so far
  std::string summary() const;                       // the three blocks
  double mean_kld() const;

 private:
  struct Sums {
    double sum = 0.0, squares = 0.0;
    void add(double value) { sum += value, squares += value * value; }
  };
  std::pair<double, double> mean_and_error(const Sums& sums) const;
  std::pair<double, double> log_ratio(double covariance) const;
  std::pair<double, double> p_diff_rms() const;
  std::pair<double, double> same_top() const;
  double covariance() const;

  Sums nll_, nll_base_, kld_, p_diff_, p_diff_squared_;
  double nll_product_ = 0.0;
  std::int64_t n_same_top_ = 0;
  std::vector<float> klds_, p_diffs_;
};

}  // namespace dodeca::runtime::eval
