#include "runtime/eval/windows.hpp"

#include <algorithm>

#include "runtime/base/error.hpp"
#include "runtime/exec/executor.hpp"

namespace dodeca::runtime::eval {

using exec::Row;

EvalModel make_eval_model(exec::Executor& executor, cpu::Team& team, std::int64_t rows_per_call) {
  EvalModel model;
  model.vocab_size = executor.config().vocab_size;
  model.rows_per_call = rows_per_call;
  model.n_sequences = executor.cache().n_sequences();
  model.forward = [&executor, &team](std::span<const Row> rows, exec::ForwardOutput& out) {
    executor.forward(rows, out, &team);
  };
  model.clear = [&executor](std::int32_t sequence) { executor.cache().truncate(sequence, 0); };
  model.parallel = [&team](std::int64_t n, const std::function<void(std::int64_t)>& body) {
    cpu::WorkCounter counter;
    team.run([&](const cpu::Member&) {
      for (std::int64_t i = counter.take(); i < n; i = counter.take()) body(i);
    });
  };
  return model;
}

std::int32_t sequences_for(std::int64_t n_ctx, std::int64_t rows_per_call, std::int64_t n_windows) {
  const std::int64_t rows = std::max<std::int64_t>(1, n_ctx - 1);  // of one window
  // A call of whole windows: a cut one at each end. Windows as long as a call run one after the other.
  const std::int64_t wanted = rows >= rows_per_call ? 1 : rows_per_call / rows + 2;
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(1, n_windows)));
}

void require_in_vocabulary(std::span<const std::int32_t> tokens, std::int64_t vocab_size) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && tokens[i] < vocab_size) continue;
    throw Error(ErrorKind::kBadRequest,
                fmt::format("token {} at place {} is not in the vocabulary of {}", tokens[i], i, vocab_size));
  }
}

void run_windows(const EvalModel& model, const Windows& windows,
                 const std::function<void(std::span<const Prediction>)>& on_predictions) {
  const auto token_at = [&](std::int64_t window, std::int64_t position) {
    return windows.tokens[window * windows.n_ctx + position];
  };
  require_in_vocabulary(windows.tokens.first(windows.n_windows * windows.n_ctx), model.vocab_size);

  std::vector<Row> rows;
  std::vector<Prediction> predictions;
  exec::ForwardOutput out;
  std::int64_t first_window = 0;  // of the call being filled
  const auto flush = [&] {
    if (rows.empty()) return;
    model.forward(rows, out);
    for (std::size_t i = 0; i < predictions.size(); ++i) {
      predictions[i].logits =
          std::span(out.logits)
              .subspan(i * static_cast<std::size_t>(model.vocab_size), static_cast<std::size_t>(model.vocab_size));
    }
    if (!predictions.empty()) on_predictions(predictions);
    rows.clear();
    predictions.clear();
  };

  for (std::int64_t window = 0; window < windows.n_windows; ++window) {
    if (rows.empty()) first_window = window;
    if (window - first_window >= model.n_sequences) {  // its sequence is still in this call
      flush();
      first_window = window;
    }
    const auto sequence = static_cast<std::int32_t>(window % model.n_sequences);
    model.clear(sequence);
    // Nothing is predicted from the last position, and nothing attends to it.
    for (std::int64_t position = 0; position + 1 < windows.n_ctx; ++position) {
      if (static_cast<std::int64_t>(rows.size()) == model.rows_per_call) {
        flush();
        first_window = window;
      }
      Row row;
      row.token = position == 0 && windows.bos ? *windows.bos : token_at(window, position);
      row.position = static_cast<std::int32_t>(position);
      row.sequence = sequence;
      row.prompt = true;
      row.wants_logits = position >= windows.first;
      if (row.wants_logits) predictions.push_back({window, position, token_at(window, position + 1), {}});
      rows.push_back(row);
    }
  }
  flush();
}

}  // namespace dodeca::runtime::eval
