// The definition, in plain loops over the heads of a strip.
#include <cmath>
#include <cstring>

#include "cpu/kernels/index/index.hpp"

namespace dodeca::cpu::scalar {
namespace {

// Products of all lanes with one key.
void dots_of_words(const std::int16_t* queries, const std::int16_t* key, std::int64_t n, float* dots) {
  std::int32_t sum[kIndexLanes] = {};
  for (std::int64_t d = 0; d < n; d += 2, queries += 2 * kIndexLanes) {
    for (std::int64_t lane = 0; lane < kIndexLanes; ++lane)
      sum[lane] += queries[2 * lane] * key[d] + queries[2 * lane + 1] * key[d + 1];
  }
  for (std::int64_t lane = 0; lane < kIndexLanes; ++lane) dots[lane] = static_cast<float>(sum[lane]);
}

void dots_of_floats(const float* queries, const float* key, std::int64_t n, float* dots) {
  for (std::int64_t lane = 0; lane < kIndexLanes; ++lane) dots[lane] = 0.0f;
  for (std::int64_t d = 0; d < n; ++d, queries += kIndexLanes) {
    for (std::int64_t lane = 0; lane < kIndexLanes; ++lane) dots[lane] = std::fma(queries[lane], key[d], dots[lane]);
  }
}

}  // namespace

void index_scores(const IndexScoreArgs& a) {
  const bool words = a.shape.numbers == IndexNumbers::kWords;
  const std::size_t row_bytes = index_row_bytes(a.shape), strip_bytes = index_strip_bytes(a.shape);
  for (std::int64_t i = 0; i < a.n; ++i) {
    const std::byte* key = a.keys + static_cast<std::size_t>(i) * row_bytes;
    float lanes[kIndexLanes] = {};
    for (std::int64_t strip = 0; strip < a.shape.strips(); ++strip) {
      const auto* factors = reinterpret_cast<const float*>(a.queries + static_cast<std::size_t>(strip) * strip_bytes);
      float dots[kIndexLanes];
      if (words)
        dots_of_words(reinterpret_cast<const std::int16_t*>(factors + kIndexLanes),
                      reinterpret_cast<const std::int16_t*>(key + sizeof(float)), a.shape.head_dim, dots);
      else
        dots_of_floats(factors + kIndexLanes, reinterpret_cast<const float*>(key), a.shape.head_dim, dots);
      for (std::int64_t lane = 0; lane < kIndexLanes; ++lane)
        lanes[lane] = std::fma(dots[lane] > 0.0f ? dots[lane] : 0.0f, factors[lane], lanes[lane]);
    }
    for (std::int64_t half = kIndexLanes / 2; half > 0; half /= 2) {
      for (std::int64_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    }
    float scale = 1.0f;
    if (words) std::memcpy(&scale, key, sizeof scale);
    a.scores[i] = lanes[0] * scale;
  }
}

}  // namespace dodeca::cpu::scalar
