// The only float comparator of the tests. Passes when, for every element, |got - want| <= abs + rel * |want| holds
// (written so that a NaN fails), NaN and infinities stand at the same places with the same signs, and nmse and cosine
// stay in their limits.
//   const auto result = compare(got, want, {.abs = 1e-6});
//   CHECK_MESSAGE(result.ok, result.report);
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace dodeca::tests {

struct Tolerance {
  double abs = 0.0;
  double rel = 0.0;
  double nmse = -1.0;         // upper limit of sum (got-want)^2 / sum want^2; negative: not asked
  double cosine = -2.0;       // lower limit; below -1: not asked
  std::size_t row_width = 0;  // for the report: element i is [i / row_width, i % row_width]
};

struct Comparison {
  bool ok = true;
  std::size_t n_bad = 0;
  std::size_t worst = 0;  // element with the largest excess over its tolerance
  double max_abs = 0.0;   // largest |got - want| over the finite elements
  double nmse = 0.0;
  double cosine = 1.0;  // 1 when both sides are all zero
  std::string report;   // one line: worst element, counts, measures
};

Comparison compare(std::span<const float> got, std::span<const float> want, const Tolerance& tolerance = {});

}  // namespace dodeca::tests
