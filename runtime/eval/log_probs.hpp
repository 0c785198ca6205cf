// Log-probabilities of one row of logits, and their 16-bit form in the base files of llama.cpp's perplexity tool: a row
// is f32 scale, f32 smallest log-probability, then one u16 per token: log p = scale * q + smallest. Sums are in double.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace dodeca::runtime::eval {

// log of the sum of exp(logits), without overflow. NaN when a logit is NaN.
double log_sum_exp(std::span<const float> logits);
// -log p(target).
double negative_log_likelihood(std::span<const float> logits, std::int32_t target);

struct PackedRow {
  float scale = 0.0f;
  float min_log_prob = 0.0f;
  std::span<const std::uint16_t> q;  // [vocab_size]
  // In f32, as the tool that defines the format computes it: a tie for the top is the same tie.
  float log_prob(std::size_t token) const { return scale * static_cast<float>(q[token]) + min_log_prob; }
};

// u16 values per row: 4 for the two floats, then the vocabulary rounded up to even.
std::int64_t packed_row_size(std::int64_t vocab_size);
// dst: [packed_row_size]. What lies 16 below the top logit or deeper is stored as that floor.
void pack_row(std::span<const float> logits, std::span<std::uint16_t> dst);
PackedRow unpack_row(std::span<const std::uint16_t> row, std::int64_t vocab_size);

}  // namespace dodeca::runtime::eval
