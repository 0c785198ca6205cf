// From logits to a token: repeat penalty, frequency and presence penalty, top-k, top-p, min-p, temperature, draw; in
// this order. Greedy at temperature 0: the highest logit, of equal ones the lowest id. The same seed and logits give
// the same tokens on every platform. One sampler serves one sequence.
#pragma once

#include <cstdint>
#include <deque>
#include <random>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/sample/scanned_logits.hpp"

namespace dodeca::runtime {

struct SamplerOptions {
  double temperature = 0.8;
  std::int64_t top_k = 40;  // 0 or less: off
  double top_p = 0.95;      // 1: off
  double min_p = 0.05;      // 0: off
  double repeat_penalty = 1.0, frequency_penalty = 0.0, presence_penalty = 0.0;
  std::int64_t repeat_last_n = 64;  // tokens that the penalties look back on; 0: none, -1: all
  std::uint64_t seed = 0;
};

struct TokenLogprob {
  std::int32_t token = 0;
  float logprob = 0;
};

// log softmax of the untouched logits: of `token`, and of the n_top most likely ones, best first.
struct LogprobsResult {
  float chosen = 0;
  std::vector<TokenLogprob> top;
};
LogprobsResult logprobs(const ScannedLogits& logits, std::int32_t token, std::int64_t n_top);
// Throws as ScannedLogits.
LogprobsResult logprobs(std::span<const float> logits, std::int32_t token, std::int64_t n_top);

class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options);
  // Tokens that the penalties should see: the prompt's, then every sampled one (sample() does not add by itself).
  void accept(std::int32_t token);
  // The logits that penalties change, with their new values; to be put in place before draw().
  std::vector<Candidate> penalties(std::span<const float> logits) const;
  std::int32_t draw(const ScannedLogits& logits);
  // Both, on a copy, by the calling thread alone; sample_rows.hpp does it for many sequences. Throws as ScannedLogits.
  std::int32_t sample(std::span<const float> logits);

 private:
  bool has_penalties() const;
  double uniform();  // [0, 1), 53 bits
  void find_candidates(const ScannedLogits& logits);
  void cut_top_p(const ScannedLogits& logits);

  SamplerOptions options_;
  std::mt19937_64 random_;
  std::deque<std::int32_t> recent_;
  std::unordered_map<std::int32_t, std::int64_t> counts_;  // of recent_
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

}  // namespace dodeca::runtime
