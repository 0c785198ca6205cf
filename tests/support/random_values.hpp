// Normally distributed values, the same for the same seed.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

namespace dodeca::tests {

inline std::vector<float> random_values(std::size_t n, std::mt19937& random, float spread = 1.0f) {
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

inline std::vector<float> random_values(std::size_t n, unsigned seed, float spread = 1.0f) {
  std::mt19937 random(seed);
  return random_values(n, random, spread);
}

}  // namespace dodeca::tests
