// Tokens for the rows of a forward pass, by a team: all members look through the logits of all rows, and then take one
// row each. The results are those of one thread.
#pragma once

#include <cstdint>
#include <exception>
#include <span>

#include "cpu/team.hpp"
#include "runtime/sample/sampler.hpp"

namespace dodeca::runtime {

struct SampledRow {
  Sampler* sampler = nullptr;            // null: `token` is given, and only its logprob is wanted
  std::span<float> logits;               // changed during the call, and afterwards as before
  std::span<const std::int32_t> banned;  // tokens that are never drawn
  std::int64_t n_logprobs = -1;          // -1: none; 0: of the token; n: of the n likeliest too
  // Results. `error`: what went wrong with this row (ScannedLogits says what can); the others are done all the same.
  std::int32_t token = 0;
  LogprobsResult logprobs;
  std::exception_ptr error;
};

// Rows are independent: each has a sampler of its own. team null: the calling thread alone.
void sample_rows(std::span<SampledRow> rows, cpu::Team* team);

}  // namespace dodeca::runtime
