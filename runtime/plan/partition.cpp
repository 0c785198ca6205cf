#include "runtime/plan/partition.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dodeca::runtime {

Shares equal_shares(int n_parts) { return Shares(static_cast<std::size_t>(n_parts), 1.0); }

std::vector<Span> cut(std::int64_t count, std::int64_t unit, const Shares& shares) {
  // Largest remainders: whole units by share, what is left to those who lack most, the first among equals.
  const std::int64_t units = (count + unit - 1) / unit;
  const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
  std::vector<std::int64_t> n;
  std::vector<double> lack;
  for (const double share : shares) {
    const double exact = static_cast<double>(units) * share / all;
    n.push_back(static_cast<std::int64_t>(std::floor(exact + 1e-9)));
    lack.push_back(exact - static_cast<double>(n.back()));
  }
  for (std::int64_t left = units - std::accumulate(n.begin(), n.end(), std::int64_t{0}); left > 0; --left) {
    const auto most = std::max_element(lack.begin(), lack.end(), [](double a, double b) { return a < b - 1e-9; });
    ++n[most - lack.begin()];
    *most -= 1.0;
  }
  std::vector<Span> spans;
  std::int64_t begin = 0;
  for (const std::int64_t own : n) {
    spans.push_back({std::min(count, begin * unit), std::min(count, (begin + own) * unit)});
    begin += own;
  }
  return spans;
}

std::vector<int> deal(std::int64_t count, const Shares& shares) {
  const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
  std::vector<double> behind(shares.size(), 0.0);
  std::vector<int> part;
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::size_t p = 0; p < shares.size(); ++p) behind[p] += shares[p] / all;
    const auto most = std::max_element(behind.begin(), behind.end(), [](double a, double b) { return a < b - 1e-9; });
    *most -= 1.0;
    part.push_back(static_cast<int>(most - behind.begin()));
  }
  return part;
}

FfnCut cut_ffn(std::int64_t width, std::int64_t unit, std::int64_t n_experts, const Shares& shares) {
  const auto n_parts = static_cast<std::int64_t>(shares.size());
  if (n_parts > 1 && n_experts > 1 && width / unit < n_parts)
    return {.columns = std::vector<Span>(shares.size(), Span{0, width}), .expert_part = deal(n_experts, shares)};
  return {.columns = cut(width, unit, shares), .expert_part = {}};
}

}  // namespace dodeca::runtime
