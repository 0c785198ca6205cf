#include "runtime/eval/statistics.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace dodeca::runtime::eval {

namespace {

constexpr float kSkippedLogProb = -16.0f;  // base log-probabilities down there are the floor of the file, not values

// Linear interpolation between the two neighbours; values sorted, not empty.
double percentile(const std::vector<float>& values, double fraction) {
  const double place = fraction * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const double above_share = place - static_cast<double>(below);
  return (1.0 - above_share) * values[below] + above_share * values[std::min(below + 1, values.size() - 1)];
}

double root(double value) { return std::sqrt(std::max(value, 0.0)); }

struct Place {
  const char* label;
  double fraction;
};

}  // namespace

void Perplexity::add(double nll) {
  sum_ += nll;
  sum_squares_ += nll * nll;
  ++count_;
}

double Perplexity::value() const { return std::exp(sum_ / static_cast<double>(count_)); }

double Perplexity::error() const {
  if (count_ < 2) return 0.0;
  const double n = static_cast<double>(count_), mean = sum_ / n;
  return value() * root((sum_squares_ / n - mean * mean) / (n - 1));
}

Divergence diverge(std::span<const float> logits, const PackedRow& base, std::int32_t target) {
  const double normalizer = log_sum_exp(logits);
  Divergence out;
  std::size_t top = 0, top_base = 0;
  float best_base = base.log_prob(0);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > logits[top]) top = i;
    const float log_base = base.log_prob(i);
    if (log_base > best_base) {
      best_base = log_base;
      top_base = i;
    }
    if (log_base > kSkippedLogProb) {
      out.kld += static_cast<double>(std::exp(log_base)) *
                 (static_cast<double>(log_base) - (static_cast<double>(logits[i]) - normalizer));
    }
  }
  out.nll = normalizer - static_cast<double>(logits[target]);
  out.nll_base = -static_cast<double>(base.log_prob(static_cast<std::size_t>(target)));
  out.p_diff = std::exp(-out.nll) - std::exp(-out.nll_base);
  out.same_top = top == top_base;
  return out;
}

void DivergenceStatistics::add(const Divergence& d) {
  nll_.add(d.nll);
  nll_base_.add(d.nll_base);
  nll_product_ += d.nll * d.nll_base;
  kld_.add(d.kld);
  p_diff_.add(d.p_diff);
  p_diff_squared_.add(d.p_diff * d.p_diff);
  n_same_top_ += d.same_top ? 1 : 0;
  klds_.push_back(static_cast<float>(d.kld));
  p_diffs_.push_back(static_cast<float>(d.p_diff));
}

std::pair<double, double> DivergenceStatistics::mean_and_error(const Sums& sums) const {
  if (count() < 1) return {0.0, 0.0};
  const double n = static_cast<double>(count()), mean = sums.sum / n;
  return {mean, count() > 10 ? root((sums.squares / n - mean * mean) / (n - 1)) : 0.0};
}

double DivergenceStatistics::covariance() const {
  if (count() < 10) return 0.0;
  const double n = static_cast<double>(count());
  return (nll_product_ / n - nll_.sum / n * (nll_base_.sum / n)) / (n - 1);
}

std::pair<double, double> DivergenceStatistics::log_ratio(double covariance) const {
  const auto [mean, error] = mean_and_error(nll_);
  const auto [mean_base, error_base] = mean_and_error(nll_base_);
  return {mean - mean_base, root(error * error + error_base * error_base - 2.0 * covariance)};
}

std::pair<double, double> DivergenceStatistics::p_diff_rms() const {
  const auto [mean, error] = mean_and_error(p_diff_squared_);
  const double rms = root(mean);
  return {100.0 * rms, rms > 0 ? 100.0 * 0.5 / rms * error : 0.0};
}

std::pair<double, double> DivergenceStatistics::same_top() const {
  const double n = static_cast<double>(count()), share = static_cast<double>(n_same_top_) / n;
  return {100.0 * share, n > 1 ? 100.0 * root(share * (1.0 - share) / (n - 1)) : 0.0};
}

double DivergenceStatistics::mean_kld() const { return mean_and_error(kld_).first; }

std::string DivergenceStatistics::chunk_heading() {
  return "chunk             PPL               ln(PPL(Q)/PPL(base))          KL Divergence              Δp RMS          "
         "  Same top p\n";
}

std::string DivergenceStatistics::chunk_line(std::int64_t chunk) const {
  const auto [log_ppl, log_ppl_error] = mean_and_error(nll_);
  const auto [ratio, ratio_error] = log_ratio(covariance());
  const auto [kld, kld_error] = mean_and_error(kld_);
  const auto [rms, rms_error] = p_diff_rms();
  const auto [top, top_error] = same_top();
  const double ppl = std::exp(log_ppl);
  return fmt::format(
      "{:4}    {:9.4f} ± {:9.4f}    {:10.5f} ± {:10.5f}    {:10.5f} ± {:10.5f}    {:6.3f} ± {:6.3f} %    {:6.3f} ± "
      "{:6.3f} %\n",
      chunk, ppl, ppl * log_ppl_error, ratio, ratio_error, kld, kld_error, rms, rms_error, top, top_error);
}

std::string DivergenceStatistics::summary() const {
  if (count() == 0) return {};
  std::string out;
  const auto line = [&out]<class... Args>(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
    out += '\n';
  };
  const auto [log_ppl, log_error] = mean_and_error(nll_);
  const auto [log_base, log_base_error] = mean_and_error(nll_base_);
  const double ppl = std::exp(log_ppl), ppl_error = ppl * log_error;
  const double base = std::exp(log_base), base_error = base * log_base_error;
  const double cov = covariance(), both = log_error * log_base_error;
  const auto [ratio, ratio_error] = log_ratio(cov);
  line("====== Perplexity statistics ======");
  line("Mean PPL(Q)                   : {:10.6f} ± {:10.6f}", ppl, ppl_error);
  line("Mean PPL(base)                : {:10.6f} ± {:10.6f}", base, base_error);
  line("Cor(ln(PPL(Q)), ln(PPL(base))): {:6.2f}%", both > 0 ? 100.0 * cov / both : 0.0);
  line("Mean ln(PPL(Q)/PPL(base))     : {:10.6f} ± {:10.6f}", ratio, ratio_error);
  line("Mean PPL(Q)/PPL(base)         : {:10.6f} ± {:10.6f}", std::exp(ratio), std::exp(ratio) * ratio_error);
  line("Mean PPL(Q)-PPL(base)         : {:10.6f} ± {:10.6f}", ppl - base,
       root(ppl_error * ppl_error + base_error * base_error - 2.0 * ppl * base * cov));

  std::vector<float> sorted = klds_;
  std::sort(sorted.begin(), sorted.end());
  const auto [kld, kld_error] = mean_and_error(kld_);
  line("\n====== KL divergence statistics ======");
  line("Mean    KLD: {:10.6f} ± {:10.6f}", kld, kld_error);
  static constexpr Place kKldPlaces[] = {{"Maximum", 1.0},  {"99.9%  ", 0.999}, {"99.0%  ", 0.99}, {"95.0%  ", 0.95},
                                         {"90.0%  ", 0.9},  {"Median ", 0.5},   {"10.0%  ", 0.1},  {" 5.0%  ", 0.05},
                                         {" 1.0%  ", 0.01}, {" 0.1%  ", 0.001}, {"Minimum", 0.0}};
  for (const Place& place : kKldPlaces) line("{} KLD: {:10.6f}", place.label, percentile(sorted, place.fraction));

  sorted = p_diffs_;
  std::sort(sorted.begin(), sorted.end());
  const auto [diff, diff_error] = mean_and_error(p_diff_);
  const auto [rms, rms_error] = p_diff_rms();
  const auto [top, top_error] = same_top();
  line("\n====== Token probability statistics ======");
  line("Mean    Δp: {:6.3f} ± {:5.3f} %", 100.0 * diff, 100.0 * diff_error);
  static constexpr Place kDiffPlaces[] = {{"Maximum", 1.0}, {"99.9%  ", 0.999}, {"99.0%  ", 0.99}, {"95.0%  ", 0.95},
                                          {"90.0%  ", 0.9}, {"75.0%  ", 0.75},  {"Median ", 0.5},  {"25.0%  ", 0.25},
                                          {"10.0%  ", 0.1}, {" 5.0%  ", 0.05},  {" 1.0%  ", 0.01}, {" 0.1%  ", 0.001},
                                          {"Minimum", 0.0}};
  for (const Place& place : kDiffPlaces)
    line("{} Δp: {:6.3f}%", place.label, 100.0 * percentile(sorted, place.fraction));
  line("RMS Δp    : {:6.3f} ± {:5.3f} %", rms, rms_error);
  line("Same top p: {:6.3f} ± {:5.3f} %", top, top_error);
  return out;
}

}  // namespace dodeca::runtime::eval
