// What generating and prompt processing cost in bytes and multiply-accumulates, from a model's plan alone.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/model/config.hpp"
#include "runtime/plan/plan.hpp"

namespace dodeca::runtime::predict {

// Multiply-accumulates by the arithmetic that does them.
struct Macs {
  double int8 = 0, f32 = 0;  // f32: also F16, BF16 and FP8 weights, and the reference route
  double sum() const { return int8 + f32; }
  Macs& operator+=(const Macs& other) {
    int8 += other.int8;
    f32 += other.f32;
    return *this;
  }
  Macs operator*(double n) const { return {int8 * n, f32 * n}; }
};

struct TokenWork {
  std::int64_t n_experts = 0, n_used = 0;  // routed, per MoE layer
  double fixed_bytes = 0;                  // read by every step, whoever is routed where; one row of embeddings
  double routed_bytes = 0;                 // all routed experts of all layers
  Macs layers;                             // of one row through all layers, but for attention over the cache
  Macs output;                             // of one row through the output matrix

  // Weights read by one step of several sequences, with so many distinct experts per MoE layer.
  double step_bytes(double experts_touched) const;
  // A prompt of n_tokens that asks for n_outputs rows of logits: products with weights.
  Macs prompt_macs(std::int64_t n_tokens, std::int64_t n_outputs) const;
};
TokenWork token_work(const Plan& plan);
// The same of a draft: the first layer of multi-token prediction and its head. Of plans that have it.
TokenWork draft_work(const Plan& plan);

// Attention over the cache in all layers together, per row and cached position.
struct AttentionWork {
  Macs generated;          // absorbed form
  Macs prompt;             // decompressed form
  Macs decompress;         // keys and values of one position; TokenWork::layers has it once per row
  Macs index;              // scores of the layers that choose positions, where there are more than top_k
  std::int64_t top_k = 0;  // 0: all positions are attended to
  // Of the layers with a window, which the others are without, in both forms; 0: there are none.
  Macs windowed_generated, windowed_prompt;
  std::int64_t window = 0;

  // Of a generated row that sees so many positions.
  Macs generated_macs(double seen) const;

  // A prompt of n_tokens behind `depth` cached positions. The whole context is decompressed for every micro-batch;
  // sparse rows are counted in the form with the fewest products, with nothing decompressed for them.
  Macs prompt_macs(std::int64_t n_tokens, std::int64_t depth, std::int64_t micro_batch) const;
};
// in_floats: with --compute f32 or a float32 cache. in_bytes: keys or values of grouped queries are I8; their generated
// rows work in floats otherwise.
AttentionWork attention_work(const ModelConfig& config, bool in_floats, bool in_bytes = false);

// Distinct experts that n_rows rows choose when each chooses n_used of n_experts, all alike likely.
double expected_experts(std::int64_t n_experts, std::int64_t n_used, std::int64_t n_rows);

}  // namespace dodeca::runtime::predict
