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
  std::string name;     // gguf_name(id)
  std::string hf_name;  // one tensor; kExperts: "{}" stands for the expert; empty: derived from kv_b_proj
  std::int64_t n_in = 0, n_out = 1, n_slices = 1;
  Slicing slicing = Slicing::kNone;
  bool vector = false;  // 1-D in the file: a norm or a bias
  bool optional = false;
  std::int64_t rank() const { return vector ? 1 : slicing == Slicing::kNone ? 2 : 3; }  // dimensions in a GGUF
};

// Everything outside the layers and all main layers; with `mtp` only the multi-token-prediction layers instead.
std::vector<WantedWeight> wanted_weights(const ModelConfig& config, bool mtp);

}  // namespace dodeca::runtime
