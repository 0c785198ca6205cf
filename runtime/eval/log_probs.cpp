#include "runtime/eval/log_probs.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace dodeca::runtime::eval {

namespace {

constexpr float kFloor = 16.0f;  // below the top, in nats
constexpr float kMaxCode = 65535.0f;

// Terms in f32 (their rounding errors are random and 1e-7 of the term), the sum in double.
double sum_exp(std::span<const float> logits, float max) {
  double sum = 0.0;
  for (const float logit : logits) sum += static_cast<double>(std::exp(logit - max));
  return sum;
}

}  // namespace

double log_sum_exp(std::span<const float> logits) {
  const float max = *std::max_element(logits.begin(), logits.end());
  return static_cast<double>(max) + std::log(sum_exp(logits, max));
}

double negative_log_likelihood(std::span<const float> logits, std::int32_t target) {
  return log_sum_exp(logits) - static_cast<double>(logits[target]);
}

std::int64_t packed_row_size(std::int64_t vocab_size) { return (vocab_size + 1) / 2 * 2 + 4; }

void pack_row(std::span<const float> logits, std::span<std::uint16_t> dst) {
  const auto [low, high] = std::minmax_element(logits.begin(), logits.end());
  const float max = *high, min = std::max(*low, max - kFloor);
  const float scale = (max - min) / kMaxCode;
  const auto min_log_prob = static_cast<float>(static_cast<double>(min - max) - std::log(sum_exp(logits, max)));
  std::memcpy(dst.data(), &scale, sizeof scale);
  std::memcpy(dst.data() + 2, &min_log_prob, sizeof min_log_prob);
  const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  const auto codes = dst.subspan(4);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float code = logits[i] > min ? std::nearbyint(inverse * (logits[i] - min)) : 0.0f;
    codes[i] = static_cast<std::uint16_t>(std::min(code, kMaxCode));
  }
  std::fill(codes.begin() + static_cast<std::ptrdiff_t>(logits.size()), codes.end(), std::uint16_t{0});
}

PackedRow unpack_row(std::span<const std::uint16_t> row, std::int64_t vocab_size) {
  PackedRow out;
  std::memcpy(&out.scale, row.data(), sizeof out.scale);
  std::memcpy(&out.min_log_prob, row.data() + 2, sizeof out.min_log_prob);
  out.q = row.subspan(4, vocab_size);
  return out;
}

}  // namespace dodeca::runtime::eval
