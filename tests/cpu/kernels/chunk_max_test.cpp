#include "cpu/kernels/chunk_max/chunk_max.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/guarded_buffer.hpp"
#include "tests/support/kernel_variants.hpp"
#include "tests/support/random_values.hpp"

using namespace dodeca;
using tests::GuardedBuffer;
using tests::random_values;

TEST_CASE("chunk_maxima: every line gives the largest of each chunk, for every length") {
  const auto lines = cpu::chunk_maxima_kernels();
  REQUIRE(lines.front().isa == cpu::Isa::kScalar);
  for (const auto& line : lines) {
    if (!tests::variant_runs(line.name, line.isa)) continue;
    for (std::int64_t n = 0; n <= 300; ++n) {
      const GuardedBuffer<float> values(random_values(static_cast<std::size_t>(n), static_cast<unsigned>(n)));
      const auto n_chunks = static_cast<std::size_t>(cpu::chunks_of(n));
      const GuardedBuffer<float> maxima(n_chunks);
      line.run(values.data(), n, maxima.data());
      CHECK(maxima.intact());
      for (std::size_t c = 0; c < n_chunks; ++c) {
        const float* first = values.data() + static_cast<std::int64_t>(c) * cpu::kMaxChunk;
        CHECK_MESSAGE(
            maxima[c] == *std::max_element(first, std::min<const float*>(first + cpu::kMaxChunk, values.data() + n)),
            line.name, " n=", n);
      }
    }
  }
}

TEST_CASE("chunk_maxima: a NaN anywhere shows, infinities count, a zero is positive") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const auto& line : cpu::chunk_maxima_kernels()) {
    if (!tests::variant_runs(line.name, line.isa)) continue;
    for (std::size_t at = 0; at < 200; ++at) {
      std::vector<float> values(200, -kInfinity);
      float maxima[2];
      values[at] = std::numeric_limits<float>::quiet_NaN();
      line.run(values.data(), 200, maxima);
      CHECK_MESSAGE(std::isnan(maxima[at / 128]), line.name, " at ", at);
      CHECK_MESSAGE(maxima[1 - at / 128] == -kInfinity, line.name, " at ", at);
      values[at] = kInfinity;
      line.run(values.data(), 200, maxima);
      CHECK(maxima[at / 128] == kInfinity);
      values[at] = -0.0f;
      line.run(values.data(), 200, maxima);
      CHECK((maxima[at / 128] == 0 && !std::signbit(maxima[at / 128])));
    }
  }
}
