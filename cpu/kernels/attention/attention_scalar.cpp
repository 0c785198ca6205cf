#include <cmath>

#include "cpu/kernels/attention/attention_kernels.hpp"
#include "cpu/kernels/exp_scalar.hpp"
#include "quant/codec.hpp"

namespace dodeca::cpu::scalar {
namespace {

float sum_pairwise(float* lane) {
  for (int half = 8; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) lane[j] += lane[j + half];
  }
  return lane[0];
}

float dot(const float* a, const float* b, std::int64_t n) {
  float lane[16] = {};
  for (std::int64_t k = 0; k < n; ++k) lane[k % 16] = std::fma(a[k], b[k], lane[k % 16]);
  return sum_pairwise(lane);
}

}  // namespace

void mla_block(const MlaBlockArgs& a) noexcept {
  for (std::int64_t head = 0; head < a.n_heads; ++head) {
    float* p = a.scratch + head * kContextBlock;
    float max = a.max[head];
    for (std::int64_t i = 0; i < a.n_positions; ++i) {
      p[i] = dot(a.q + head * a.width, a.rows + i * a.width, a.width) * a.scale;
      max = p[i] > max ? p[i] : max;
    }
    const float correction = exp_one(a.max[head] - max);
    float lane[16] = {};
    for (std::int64_t i = 0; i < a.n_positions; ++i) {
      p[i] = exp_one(p[i] - max);
      lane[i % 16] += p[i];
    }
    a.max[head] = max;
    a.sum[head] = std::fma(a.sum[head], correction, sum_pairwise(lane));
    float* acc = a.acc + head * a.value_width;
    for (std::int64_t v = 0; v < a.value_width; ++v) acc[v] *= correction;
    for (std::int64_t i = 0; i < a.n_positions; ++i) {
      const float* value = a.value_rows() + i * a.value_stride();
      for (std::int64_t v = 0; v < a.value_width; ++v) acc[v] = std::fma(p[i], value[v], acc[v]);
    }
  }
}

void decode_cache_rows(const CacheRows& from, float* out) noexcept {
  for (std::int64_t i = 0; i < from.n; ++i) {
    const std::byte* row = from.rows + static_cast<std::size_t>(i) * from.row_bytes;
    quant::decode_row(from.dtype, row, out + i * from.width, from.width);
  }
}

}  // namespace dodeca::cpu::scalar
