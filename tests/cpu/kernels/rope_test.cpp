#include "cpu/kernels/rope/rope.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace dodeca;

TEST_CASE("rope: angles are the float of the double cosine and sine, far positions included") {
  const std::vector<double> inv_freq = {1.0, 0.1, 1e-4};
  for (const std::int64_t position :
       {std::int64_t{0}, std::int64_t{1}, std::int64_t{163839}, std::int64_t{10'000'000}}) {
    float cos_sin[6];
    cpu::rope_angles(position, inv_freq, cos_sin);
    for (std::size_t i = 0; i < 3; ++i) {
      const double angle = static_cast<double>(position) * inv_freq[i];
      CHECK(cos_sin[2 * i] == static_cast<float>(std::cos(angle)));
      CHECK(cos_sin[2 * i + 1] == static_cast<float>(std::sin(angle)));
    }
  }
}

TEST_CASE("rope: rotates interleaved pairs; position 0 changes nothing; lengths and relative angles stay") {
  const std::vector<double> inv_freq = {1.0, 0.25};
  const float x[4] = {3, 4, -1, 2};
  float cos_sin[4], y[4] = {3, 4, -1, 2};
  cpu::rope_angles(0, inv_freq, cos_sin);
  cpu::rope_rotate(y, cos_sin, 2);
  for (int i = 0; i < 4; ++i) CHECK(y[i] == x[i]);

  // A quarter turn by hand: (a, b) -> (-b, a).
  const float quarter[4] = {0, 1, 0, 1};
  cpu::rope_rotate(y, quarter, 2);
  CHECK(y[0] == -4.0f);
  CHECK(y[1] == 3.0f);
  CHECK(y[2] == -2.0f);
  CHECK(y[3] == -1.0f);

  // dot(R_m a, R_n b) depends on m - n only.
  const auto dot_at = [&](std::int64_t m, std::int64_t n) {
    float a[4] = {3, 4, -1, 2}, b[4] = {0.5f, -2, 1, 7};
    float angles[4];
    cpu::rope_angles(m, inv_freq, angles);
    cpu::rope_rotate(a, angles, 2);
    cpu::rope_angles(n, inv_freq, angles);
    cpu::rope_rotate(b, angles, 2);
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<double>(a[i]) * b[i];
    return sum;
  };
  CHECK(dot_at(17, 5) == doctest::Approx(dot_at(1012, 1000)).epsilon(1e-5));
  CHECK(dot_at(17, 5) != doctest::Approx(dot_at(17, 6)).epsilon(1e-3));
}
