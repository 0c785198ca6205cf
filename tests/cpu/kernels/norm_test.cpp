#include "cpu/kernels/norm/norm.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/compare.hpp"
#include "tests/support/guarded_buffer.hpp"
#include "tests/support/kernel_variants.hpp"
#include "tests/support/random_values.hpp"

using namespace dodeca;
using tests::GuardedBuffer;
using tests::random_values;

namespace {

constexpr float kEps = 1e-6f;

}  // namespace

TEST_CASE("rms_norm: the scalar variant is the formula") {
  for (const std::size_t n : {1u, 7u, 64u, 1000u, 7168u}) {
    const std::vector<float> x = random_values(n, 1), weight = random_values(n, 2);
    double squares = 0;
    for (float value : x) squares += static_cast<double>(value) * value;
    const double inverse = 1 / std::sqrt(squares / static_cast<double>(n) + kEps);
    std::vector<float> want(n), got(n);
    for (std::size_t i = 0; i < n; ++i) want[i] = static_cast<float>(x[i] * inverse * weight[i]);
    cpu::rms_norm(x.data(), weight.data(), static_cast<std::int64_t>(n), kEps, got.data(), cpu::Isa::kScalar);
    const auto result = tests::compare(got, want, {.rel = 2e-6});
    CHECK_MESSAGE(result.ok, result.report);
  }
}

TEST_CASE("rms_norm: every variant gives the scalar bits, in place too") {
  const auto variants = cpu::rms_norm_kernels();
  REQUIRE(variants.front().isa == cpu::Isa::kScalar);
  for (const auto& variant : variants) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    for (std::size_t n = 1; n <= 67; ++n) {
      GuardedBuffer<float> x(random_values(n, 3)), weight(random_values(n, 4)), want(n), got(n);
      const auto count = static_cast<std::int64_t>(n);
      variants.front().run(x.data(), weight.data(), count, kEps, want.data());
      variant.run(x.data(), weight.data(), count, kEps, got.data());
      CHECK_MESSAGE(tests::same_bits(got.data(), want.data(), n), variant.name, " n=", n);
      CHECK(got.intact());
      variant.run(x.data(), weight.data(), count, kEps, x.data());
      CHECK_MESSAGE(tests::same_bits(x.data(), want.data(), n), variant.name, " in place, n=", n);
    }
  }
}

#ifndef DODECA_SCALAR_ONLY
TEST_CASE("a list says why its variants are not taken") {
  CHECK(cpu::refusals(cpu::rms_norm_kernels(), cpu::Isa::kAvx2) ==
        std::vector<std::string>{"rms_norm_avx512 needs avx512, have avx2"});
  CHECK(cpu::refusals(cpu::rms_norm_kernels(), cpu::Isa::kAvx512Vnni).empty());
}
#endif

TEST_CASE("rms_norm: zeros stay zero, NaN shows") {
  for (const auto& variant : cpu::rms_norm_kernels()) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    const std::vector<float> weight(20, 1.0f);
    std::vector<float> x(20, 0.0f);
    variant.run(x.data(), weight.data(), 20, kEps, x.data());
    for (float value : x) CHECK(value == 0.0f);
    x[19] = std::numeric_limits<float>::quiet_NaN();
    variant.run(x.data(), weight.data(), 20, kEps, x.data());
    for (float value : x) CHECK(std::isnan(value));
  }
}

TEST_CASE("add_and_weigh: the norm of a row in blocks, the same bits for every variant") {
  const auto variants = cpu::add_and_weigh_kernels();
  REQUIRE(variants.front().isa == cpu::Isa::kScalar);
  for (const auto& variant : variants) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    for (std::size_t n = 1; n <= 67; ++n) {
      const auto count = static_cast<std::int64_t>(n);
      const std::vector<float> x = random_values(n, 5), add = random_values(n, 6), weight = random_values(n, 7);
      for (const float* addend : {add.data(), static_cast<const float*>(nullptr)}) {
        GuardedBuffer<float> sum(x), out(n);
        const float squares = variant.run(sum.data(), addend, weight.data(), count, sum.data(), out.data());
        std::vector<float> want_sum(n), want_out(n);
        const float want =
            variants.front().run(x.data(), addend, weight.data(), count, want_sum.data(), want_out.data());
        CHECK_MESSAGE(tests::same_bits(&squares, &want, 1), variant.name, " n=", n);
        CHECK_MESSAGE(tests::same_bits(sum.data(), want_sum.data(), n), variant.name, " n=", n);
        CHECK_MESSAGE(tests::same_bits(out.data(), want_out.data(), n), variant.name, " n=", n);
        CHECK(sum.intact());
        CHECK(out.intact());
        double exact = 0;
        for (std::size_t i = 0; i < n; ++i) {
          CHECK(want_sum[i] == (addend == nullptr ? x[i] : x[i] + add[i]));
          CHECK(want_out[i] == want_sum[i] * weight[i]);
          exact += static_cast<double>(want_sum[i]) * want_sum[i];
        }
        CHECK(std::abs(want - exact) <= 1e-6 * exact);
      }
    }
  }
}
