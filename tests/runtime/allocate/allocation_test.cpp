#include "runtime/allocate/allocation.hpp"

#include <doctest/doctest.h>

#include <ctime>
#include <limits>
#include <random>

#include "runtime/base/error.hpp"

namespace {

using namespace dodeca::runtime;
using namespace dodeca::runtime::allocate;
using dodeca::quant::DType;

// Tensors whose divergence falls with the bytes, not on a convex curve.
std::vector<TensorOptions> random_tensors(int n_tensors, int n_options, int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::uniform_real_distribution<double> unit(0, 1);
  std::vector<TensorOptions> tensors;
  for (int t = 0; t < n_tensors; ++t) {
    TensorOptions tensor{.name = "t" + std::to_string(t)};
    const double weight = std::exp(4 * unit(random)), size = 1000 * (1 + 20 * unit(random));
    const double read = t % 2 == 0 ? 1.0 : 0.1;
    for (int o = 0; o < n_options; ++o) {
      const double bits = 1.5 + o + 0.9 * unit(random);
      const auto bytes = static_cast<std::uint64_t>(size * bits);
      tensor.options.push_back({DType::kQ4_K, bytes, weight * std::pow(4, -bits) * (0.7 + 0.6 * unit(random)),
                                read * static_cast<double>(bytes)});
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

double least_of_all(const std::vector<TensorOptions>& tensors, std::uint64_t max_bytes, std::size_t t = 0,
                    std::uint64_t bytes = 0, double divergence = 0) {
  if (bytes > max_bytes) return std::numeric_limits<double>::infinity();
  if (t == tensors.size()) return divergence;
  double best = std::numeric_limits<double>::infinity();
  for (const TypeOption& option : tensors[t].options)
    best =
        std::min(best, least_of_all(tensors, max_bytes, t + 1, bytes + option.bytes, divergence + option.divergence));
  return best;
}

TEST_CASE("allocation: within its bytes, above its bound, and near the best of all") {
  double excess = 0;
  int count = 0;
  for (int seed = 0; seed < 30; ++seed) {
    const std::vector<TensorOptions> tensors = random_tensors(7, 5, seed);
    std::uint64_t smallest = 0;
    for (const TensorOptions& tensor : tensors) {
      std::uint64_t least = tensor.options[0].bytes;
      for (const TypeOption& option : tensor.options) least = std::min(least, option.bytes);
      smallest += least;
    }
    for (const double room : {1.0, 1.1, 1.5, 2.0, 5.0}) {
      const auto max_bytes = static_cast<std::uint64_t>(static_cast<double>(smallest) * room);
      const Allocation result = best_allocation(tensors, max_bytes);
      const double best = least_of_all(tensors, max_bytes);
      std::uint64_t bytes = 0;
      double divergence = 0;
      for (std::size_t t = 0; t < tensors.size(); ++t) {
        bytes += tensors[t].options[result.chosen[t]].bytes;
        divergence += tensors[t].options[result.chosen[t]].divergence;
      }
      CHECK(bytes == result.bytes);
      CHECK(divergence == doctest::Approx(result.divergence));
      CHECK(bytes <= max_bytes);
      CHECK(result.bound <= best * (1 + 1e-9));
      CHECK(result.divergence <= best * 1.35);
      excess += result.divergence / best - 1;
      ++count;
    }
  }
  CHECK(excess / count < 0.02);
}

TEST_CASE("allocation: many tensors leave hardly any gap to the bound") {
  const std::vector<TensorOptions> tensors = random_tensors(300, 8, 77);
  std::uint64_t middle = 0;
  for (const TensorOptions& tensor : tensors) middle += tensor.options[3].bytes;
  const Allocation result = best_allocation(tensors, middle);
  CHECK(result.bound > 0);
  CHECK(result.divergence < 1.002 * result.bound);
}

TEST_CASE("allocation: as many tensors and types as a 671B model has take no time") {
  const std::vector<TensorOptions> tensors = random_tensors(720, 21, 3);
  std::uint64_t middle = 0;
  for (const TensorOptions& tensor : tensors) middle += tensor.options[5].bytes;
  const std::clock_t begin = std::clock();
  const Allocation result = best_allocation(tensors, middle);
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  MESSAGE(seconds, " s for 14400 changes");
  CHECK(seconds < 0.15);
  CHECK(result.bytes <= middle);
  CHECK(result.divergence < 1.001 * result.bound);
}

TEST_CASE("allocation: speed gives quality for fewer bytes per token") {
  const std::vector<TensorOptions> tensors = random_tensors(60, 8, 5);
  std::uint64_t middle = 0;
  for (const TensorOptions& tensor : tensors) middle += tensor.options[4].bytes;
  const Allocation quality = best_allocation(tensors, middle), fast = best_allocation(tensors, middle, 1.0);
  CHECK(fast.token_bytes < 0.98 * quality.token_bytes);
  CHECK(fast.divergence > quality.divergence);
  CHECK(fast.divergence * fast.token_bytes < quality.divergence * quality.token_bytes);
}

TEST_CASE("allocation: too few bytes are refused with the least possible") {
  const std::vector<TensorOptions> tensors = {
      {"a", false, {{DType::kQ2_K, 100, 1, 100}, {DType::kQ4_K, 200, 0.1, 200}}},
      {"b", false, {{DType::kQ8_0, 50, 0.5, 50}}}};
  CHECK_THROWS_WITH_AS(best_allocation(tensors, 149), doctest::Contains("need 150 bytes and 149 are allowed"), Error);
  CHECK(best_allocation(tensors, 150).bytes == 150);
  CHECK(best_allocation(tensors, 249).bytes == 150);
  CHECK(best_allocation(tensors, 250).divergence == doctest::Approx(0.6));
}

}  // namespace
