// Which weights a configuration needs, under their GGUF and Hugging Face names, with the shapes that they must have.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/model/config.hpp"
#include "runtime/model/weight_role.hpp"

namespace dodeca::runtime {

enum class Slicing { kNone, kExperts, kHeads };

struct WantedWeight {
  WeightId id;
  std::string name;  // gguf_name(id)
  // One tensor; kExperts: "{}" stands for the expert, without one the tensor has all of them. Empty: made of another
  // (kv_b_proj), or of the configuration (rope factors).
  std::string hf_name;
  std::int64_t n_in = 0, n_out = 1, n_slices = 1;
  Slicing slicing = Slicing::kNone;
  bool vector = false;  // a norm or a bias: one row, or one per expert
  bool optional = false;
  // Dimensions in a GGUF.
  std::int64_t rank() const { return (vector ? 1 : 2) + (slicing == Slicing::kNone ? 0 : 1); }
};

// Everything outside the layers and all main layers; with `mtp` only the multi-token-prediction layers instead.
std::vector<WantedWeight> wanted_weights(const ModelConfig& config, bool mtp);

}  // namespace dodeca::runtime
