// What goes into a forward pass and what comes out: rows, not prompts. A prompt, a batch of sequences, a speculated
// token and a remote rank's share are all rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace dodeca::runtime::exec {

// Of a draft (Executor::draft), `token` is the one that follows the row's position.
struct Row {
  std::int32_t token = 0;
  std::int32_t position = 0;  // in its sequence; equals the number of cached positions before it
  std::int32_t sequence = 0;  // a slot of the KV cache
  bool wants_logits = false;
  bool wants_hidden = false;  // the state after the last norm
  bool prompt = false;        // known beforehand, not generated: may take the prompt route (plan/plan.hpp)
};

// Filled in row order for the rows that asked.
struct ForwardOutput {
  std::vector<float> logits;    // [rows that want logits, vocab_size]
  std::vector<float> hidden;    // [rows that want hidden, hidden_size] behind the last norm
  std::vector<float> residual;  // [rows, hidden_size] the residual stream, of calls that end before the last layer
  // Distinct experts that the rows of a pass were routed to, and layers with experts here: sums over layers and passes.
  std::int64_t experts_touched = 0, expert_layers = 0;

  void clear() {
    logits.clear();
    hidden.clear();
    residual.clear();
    experts_touched = expert_layers = 0;
  }
};

}  // namespace dodeca::runtime::exec
