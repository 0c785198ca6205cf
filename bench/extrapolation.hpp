// From the layers that are held to the whole model: the time of a test taken apart into output matrix, dense layers and
// MoE layers, and put together again with the whole model's numbers of layers. Pure arithmetic; times in nanoseconds,
// each for one repetition of the test.
#pragma once

#include <cstdint>

namespace dodeca::bench {

struct LayerCounts {
  std::int64_t dense = 0, moe = 0;
};

struct Extrapolation {
  LayerCounts held, whole;
  double output_ns = 0;             // the output matrix
  double dense_ns = 0, moe_ns = 0;  // one layer of each kind
  double bytes_per_token = 0;       // of the whole model, when generating; 0: not asked for

  // False when the parts, measured apart, took longer than the layers together: too much disturbance.
  bool plausible() const { return whole.moe > 0 ? moe_ns > 0 : dense_ns > 0; }
  double whole_ns() const {
    return output_ns + dense_ns * static_cast<double>(whole.dense) + moe_ns * static_cast<double>(whole.moe);
  }
};

// total_ns: what the held layers and the output matrix took together. What is not the output and not dense is MoE;
// without MoE layers all but the output is dense.
Extrapolation extrapolate(double total_ns, double output_ns, double dense_ns, LayerCounts held, LayerCounts whole);

// How often a test multiplies by the output matrix: once per batch of its prompt, once per generated token.
std::int64_t n_outputs(std::int64_t n_prompt, std::int64_t n_batch, std::int64_t n_gen);

}  // namespace dodeca::bench
