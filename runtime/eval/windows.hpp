// Evaluation over fixed windows of a token sequence: which rows go through the model, which predictions are scored.
// Knows nothing of what is done with the scores. Windows are independent sequences; several share a forward call so
// that short ones fill it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "cpu/team.hpp"
#include "runtime/exec/rows.hpp"

namespace dodeca::runtime::exec {
class Executor;
}

namespace dodeca::runtime::eval {

// A model as evaluation sees it; made from an executor, or by hand in tests.
struct EvalModel {
  std::int64_t vocab_size = 0;
  std::int64_t rows_per_call = 512;
  std::int32_t n_sequences = 1;
  std::function<void(std::span<const exec::Row> rows, exec::ForwardOutput& out)> forward;
  std::function<void(std::int32_t sequence)> clear;
  // Calls body(i) for every i of [0, n), on as many threads as there are. The body must not throw.
  std::function<void(std::int64_t n, const std::function<void(std::int64_t)>& body)> parallel;
};
EvalModel make_eval_model(exec::Executor& executor, cpu::Team& team, std::int64_t rows_per_call);

struct Windows {
  std::span<const std::int32_t> tokens;  // n_windows * n_ctx
  std::int64_t n_ctx = 512;
  std::int64_t n_windows = 0;
  std::int64_t first = 0;           // the first position whose prediction is scored; the last one is n_ctx - 2
  std::optional<std::int32_t> bos;  // stands in for the first token of every window
  std::int64_t scored_per_window() const { return n_ctx - 1 - first; }
};

// One scored prediction: logits after `position`, and the token that followed.
struct Prediction {
  std::int64_t window = 0;
  std::int64_t position = 0;
  std::int32_t target = 0;
  std::span<const float> logits;  // [vocab_size]
};

// Sequences that a run over windows of this length needs, so that calls of rows_per_call rows can be filled.
std::int32_t sequences_for(std::int64_t n_ctx, std::int64_t rows_per_call, std::int64_t n_windows);

// Throws Error{kBadRequest} naming the first token id outside the vocabulary.
void require_in_vocabulary(std::span<const std::int32_t> tokens, std::int64_t vocab_size);

// Calls on_predictions after each forward call that scored something; predictions come in order of window and position.
// Throws Error{kBadRequest} for token ids outside the vocabulary, and what forward throws.
void run_windows(const EvalModel& model, const Windows& windows,
                 const std::function<void(std::span<const Prediction>)>& on_predictions);

}  // namespace dodeca::runtime::eval
