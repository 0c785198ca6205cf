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
  Macs generated;   // absorbed form
  Macs prompt;      // decompressed form
  Macs decompress;  // keys and values of one position; TokenWork::layers has it once per row

  // A prompt of n_tokens behind `depth` cached positions. The whole context is decompressed for every micro-batch.
  Macs prompt_macs(std::int64_t n_tokens, std::int64_t depth, std::int64_t micro_batch) const;
};
// in_floats: with --compute f32 or a float32 cache.
AttentionWork attention_work(const ModelConfig& config, bool in_floats);

// Distinct experts that n_rows rows choose when each chooses n_used of n_experts, all alike likely.
double expected_experts(std::int64_t n_experts, std::int64_t n_used, std::int64_t n_rows);

}  // namespace dodeca::runtime::predict
