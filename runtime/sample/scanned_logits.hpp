// Logits with the largest of every chunk: one pass over all of them, after which the best ones are found by looking into
// a few chunks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpu/kernels/chunk_max/chunk_max.hpp"

namespace dodeca::runtime {

struct Candidate {
  float logit = 0;
  std::int32_t token = 0;
};
// The higher logit, of equal ones the lower id: an order without ties.
constexpr bool is_better(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

class ScannedLogits {
 public:
  // `maxima` as cpu::chunk_maxima() gives them. Throws Error{kBadFile} when a logit is NaN or none is finite: the weights
  // or the computation are broken.
  ScannedLogits(std::span<const float> logits, std::span<const float> maxima);

  std::span<const float> all() const { return logits_; }
  float max() const { return max_; }
  std::int32_t best() const { return best_; }  // token with the highest logit, of equal ones the lowest
  // All candidates with at least this logit, in order of tokens.
  void find_from(double floor, std::vector<Candidate>& found) const;
  // The n best (n at most as many as there are), best first.
  void find_best(std::size_t n, std::vector<Candidate>& found) const;

 private:
  std::span<const float> logits_, maxima_;
  float max_ = 0;
  std::int32_t best_ = 0;
};

}  // namespace dodeca::runtime
