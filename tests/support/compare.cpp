#include "tests/support/compare.hpp"

#include <cmath>
#include <cstdio>
#include <limits>

namespace dodeca::tests {

namespace {

bool same_kind(float got, float want) {
  if (std::isnan(want)) return std::isnan(got);
  if (std::isinf(want)) return got == want;
  return std::isfinite(got);
}

std::string place(std::size_t i, std::size_t row_width) {
  if (row_width == 0) return "[" + std::to_string(i) + "]";
  return "[" + std::to_string(i / row_width) + ", " + std::to_string(i % row_width) + "]";
}

}  // namespace

Comparison compare(std::span<const float> got, std::span<const float> want, const Tolerance& tolerance) {
  Comparison out;
  if (got.size() != want.size()) {
    out.ok = false;
    out.report = "sizes differ: got " + std::to_string(got.size()) + ", want " + std::to_string(want.size());
    return out;
  }
  double worst_excess = -std::numeric_limits<double>::infinity();
  double squared_error = 0, got_squared = 0, want_squared = 0, product = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double g = got[i], w = want[i];
    double excess = std::numeric_limits<double>::infinity();
    bool good = same_kind(got[i], want[i]);
    if (good && std::isfinite(want[i])) {
      const double difference = std::fabs(g - w), allowed = tolerance.abs + tolerance.rel * std::fabs(w);
      good = !(!(difference <= allowed));
      excess = difference - allowed;
      if (difference > out.max_abs) out.max_abs = difference;
      squared_error += difference * difference;
      got_squared += g * g;
      want_squared += w * w;
      product += g * w;
    } else if (good) {
      continue;
    }
    if (!good) ++out.n_bad;
    if (excess > worst_excess) {
      worst_excess = excess;
      out.worst = i;
    }
  }
  if (squared_error > 0)
    out.nmse = want_squared > 0 ? squared_error / want_squared : std::numeric_limits<double>::infinity();
  if (got_squared > 0 && want_squared > 0) {
    out.cosine = product / std::sqrt(got_squared) / std::sqrt(want_squared);
  } else if (got_squared > 0 || want_squared > 0) {
    out.cosine = 0.0;
  }
  const bool nmse_ok = tolerance.nmse < 0 || out.nmse <= tolerance.nmse;
  const bool cosine_ok = tolerance.cosine < -1 || out.cosine >= tolerance.cosine;
  out.ok = out.n_bad == 0 && nmse_ok && cosine_ok;

  char line[256];
  std::snprintf(line, sizeof line,
                "%zu of %zu elements out of tolerance, max |difference| %.6g, nmse %.6g%s, cosine %.9g%s", out.n_bad,
                want.size(), out.max_abs, out.nmse, nmse_ok ? "" : " (too large)", out.cosine,
                cosine_ok ? "" : " (too small)");
  out.report = line;
  if (!want.empty()) {
    std::snprintf(line, sizeof line, ", worst %s: got %.9g, want %.9g", place(out.worst, tolerance.row_width).c_str(),
                  static_cast<double>(got[out.worst]), static_cast<double>(want[out.worst]));
    out.report += line;
  }
  return out;
}

}  // namespace dodeca::tests
