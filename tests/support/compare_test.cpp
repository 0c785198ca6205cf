#include "tests/support/compare.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <vector>

using dodeca::tests::compare;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
using Floats = std::vector<float>;

bool ok(const Floats& got, const Floats& want, const dodeca::tests::Tolerance& tolerance = {}) {
  return compare(got, want, tolerance).ok;
}

}  // namespace

TEST_CASE("NaN passes only where NaN is wanted") {
  CHECK(ok({kNan, 1}, {kNan, 1}));
  CHECK_FALSE(ok({kNan, 1}, {0, 1}, {.abs = 1e30}));
  CHECK_FALSE(ok({0, 1}, {kNan, 1}, {.abs = 1e30}));
}

TEST_CASE("infinities must agree in place and sign") {
  CHECK(ok({kInf, -kInf}, {kInf, -kInf}));
  CHECK_FALSE(ok({kInf}, {-kInf}, {.abs = 1e30}));
  CHECK_FALSE(ok({kInf}, {3e38f}, {.abs = 1e39}));
  CHECK_FALSE(ok({3e38f}, {kInf}, {.abs = 1e39}));
}

TEST_CASE("both negative, zero reference, absolute and relative parts") {
  CHECK(ok({-1.05f}, {-1.0f}, {.rel = 0.06}));
  CHECK_FALSE(ok({-1.05f}, {-1.0f}, {.rel = 0.04}));
  CHECK_FALSE(ok({1e-3f}, {0.0f}, {.rel = 10.0}));  // relative to zero nothing is allowed
  CHECK(ok({1e-3f}, {0.0f}, {.abs = 1e-2}));
  CHECK(ok({0.0f}, {-0.0f}));
  CHECK_FALSE(ok({1.0f}, {-1.0f}, {.abs = 1.9}));
}

TEST_CASE("one bad element among many is found and named") {
  Floats want(100000, 1.0f), got = want;
  got[73217] = 1.01f;
  const auto result = compare(got, want, {.abs = 1e-4, .row_width = 1000});
  CHECK_FALSE(result.ok);
  CHECK(result.n_bad == 1);
  CHECK(result.worst == 73217);
  CHECK(result.report.find("[73, 217]") != std::string::npos);
  CHECK(result.max_abs == doctest::Approx(0.01).epsilon(1e-4));
}

TEST_CASE("sizes must agree, empty agrees with empty") {
  CHECK_FALSE(ok({1}, {1, 2}));
  CHECK(ok({}, {}));
}

TEST_CASE("measures over the whole have their own limits") {
  const Floats want{1, 2, 3, 4}, flipped{-1, -2, -3, -4}, zero{0, 0, 0, 0};
  CHECK(compare(want, want).cosine == doctest::Approx(1.0));
  CHECK(compare(flipped, want).cosine == doctest::Approx(-1.0));
  CHECK(compare(zero, want).cosine == 0.0);
  CHECK(compare(zero, zero).cosine == 1.0);
  CHECK(compare(zero, want).nmse == doctest::Approx(1.0));
  CHECK(compare(zero, zero).nmse == 0.0);
  CHECK_FALSE(ok(flipped, want, {.abs = 100, .cosine = 0.9}));
  CHECK_FALSE(ok(zero, want, {.abs = 100, .nmse = 0.5}));
  CHECK(ok(zero, want, {.abs = 100, .nmse = 1.5}));
  CHECK_FALSE(ok(want, zero, {.abs = 100, .nmse = 1.5}));
}
