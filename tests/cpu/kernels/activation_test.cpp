#include "cpu/kernels/activation/activation.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "cpu/kernels/exp_scalar.hpp"
#include "tests/support/guarded_buffer.hpp"
#include "tests/support/kernel_variants.hpp"

using namespace dodeca;
using tests::GuardedBuffer;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Units in the last place of `want`, a float's spacing at that size.
double ulps(float got, double want) {
  const double spacing = std::ldexp(1.0, std::max(std::ilogb(want), -126) - 23);
  return std::fabs(static_cast<double>(got) - want) / spacing;
}

// Floats over the whole range, a million steps apart in the bit pattern, both signs.
std::vector<float> wide_range() {
  std::vector<float> values;
  for (std::uint32_t bits = 0; bits < 0x7f800000u; bits += 100003u) {
    values.push_back(std::bit_cast<float>(bits));
    values.push_back(std::bit_cast<float>(bits | 0x80000000u));
  }
  return values;
}

}  // namespace

TEST_CASE("exp: within 1.1 ulp of the true value, denormal results included") {
  double worst = 0;
  for (double x = -103; x < 88.7; x += 1e-4) {
    const float argument = static_cast<float>(x);
    worst = std::max(worst, ulps(cpu::scalar::exp_one(argument), std::exp(static_cast<double>(argument))));
  }
  CHECK(worst < 1.1);
  CHECK(cpu::scalar::exp_one(0.0f) == 1.0f);
  CHECK(cpu::scalar::exp_one(-0.0f) == 1.0f);
  CHECK(cpu::scalar::exp_one(-kInf) == 0.0f);
  CHECK(cpu::scalar::exp_one(-1e30f) == 0.0f);
  CHECK(cpu::scalar::exp_one(kInf) == kInf);
  CHECK(cpu::scalar::exp_one(89.0f) == kInf);
  CHECK(std::isnan(cpu::scalar::exp_one(kNaN)));
  CHECK(std::isnan(cpu::scalar::exp_one(-kNaN)));
}

TEST_CASE("swiglu: the scalar variant is the formula") {
  double worst = 0;
  for (double x = -87; x < 100; x += 1e-3) {
    const float gate = static_cast<float>(x), up = 1.0f;
    float got;
    cpu::swiglu(&gate, &up, 1, &got, cpu::Isa::kScalar);
    if (gate != 0.0f) {
      const double exact = gate;
      worst = std::max(worst, ulps(got, exact / (1 + std::exp(-exact))));
    }
  }
  CHECK(worst < 3.0);
  // Beyond -87.3 the result is a denormal's worth: absolute error.
  for (double x = -110; x < -87; x += 1e-3) {
    const float gate = static_cast<float>(x), up = 1.0f;
    const double exact = gate;
    float got;
    cpu::swiglu(&gate, &up, 1, &got, cpu::Isa::kScalar);
    CHECK(std::fabs(got - exact / (1 + std::exp(-exact))) < 2e-43);
  }
}

TEST_CASE("clamped swiglu: the scalar variant is the formula") {
  double worst = 0;
  for (double x = -60; x < 20; x += 1e-3) {
    const float gate = static_cast<float>(x), up = static_cast<float>(std::fmod(x * 1.37, 11.0));
    float got;
    cpu::clamped_swiglu(&gate, &up, 1, &got, cpu::Isa::kScalar);
    const double g = std::min<double>(gate, 7), u = std::clamp<double>(up, -7, 7);
    const double exact = g / (1 + std::exp(-1.702 * g)) * (u + 1);
    worst = std::max(worst, std::fabs(got - exact) / (std::fabs(exact) + 1e-30));
  }
  CHECK(worst < 2e-5);  // the slope times g is rounded before exp
}

TEST_CASE("clamped swiglu: extremes") {
  for (const auto& variant : cpu::clamped_swiglu_kernels()) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    const float gate[] = {kInf, -kInf, kNaN, 1e38f, -1e38f, 1.0f, 1.0f, 1.0f};
    const float up[] = {1, 1, 1, -kInf, kInf, kNaN, kInf, -kInf};
    float out[8];
    variant.run(gate, up, 8, out);
    CHECK(out[0] == doctest::Approx(14.0));
    for (int i : {1, 4}) CHECK(out[i] == 0.0f);
    for (int i : {2, 5}) CHECK(std::isnan(out[i]));
    CHECK(out[3] == doctest::Approx(-42.0));
    CHECK(out[6] / out[7] == doctest::Approx(-8.0 / 6.0));
  }
}

void check_bits(std::span<const cpu::KernelVariant<cpu::SwigluFn>> variants) {
  REQUIRE(variants.front().isa == cpu::Isa::kScalar);
  const std::vector<float> range = wide_range();
  const std::span<const float> range_view = range;
  for (const auto& variant : variants) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    std::vector<float> up(range.size(), 0.75f), want(range.size()), got(range.size());
    const auto count = static_cast<std::int64_t>(range.size());
    variants.front().run(range.data(), up.data(), count, want.data());
    variant.run(range.data(), up.data(), count, got.data());
    CHECK_MESSAGE(tests::same_bits(got.data(), want.data(), range.size()), variant.name);
    for (std::size_t n = 0; n <= 40; ++n) {
      GuardedBuffer<float> gate(range_view.subspan(12345, n)), other(range_view.subspan(777, n)), out(n);
      std::vector<float> expected(n);
      variants.front().run(gate.data(), other.data(), static_cast<std::int64_t>(n), expected.data());
      variant.run(gate.data(), other.data(), static_cast<std::int64_t>(n), out.data());
      CHECK_MESSAGE(tests::same_bits(out.data(), expected.data(), n), variant.name, " n=", n);
      CHECK(out.intact());
    }
  }
}

TEST_CASE("swiglu: every variant gives the scalar bits") { check_bits(cpu::swiglu_kernels()); }
TEST_CASE("clamped swiglu: every variant gives the scalar bits") { check_bits(cpu::clamped_swiglu_kernels()); }

TEST_CASE("swiglu: extremes") {
  for (const auto& variant : cpu::swiglu_kernels()) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    const float gate[] = {kInf, -kInf, kNaN, 1e38f, -1e38f, -std::numeric_limits<float>::max(), 0.0f, -0.0f, 1.0f};
    const float up[] = {1, 1, 1, 1, 1, 1, 1, 1, kNaN};
    float out[9];
    variant.run(gate, up, 9, out);
    CHECK(out[0] == kInf);
    for (int i : {1, 4, 5, 6, 7}) CHECK(out[i] == 0.0f);
    CHECK(std::isnan(out[2]));
    CHECK(out[3] == 1e38f);
    CHECK(std::isnan(out[8]));
  }
}
