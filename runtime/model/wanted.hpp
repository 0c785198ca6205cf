// Which weights a configuration needs, under their GGUF and Hugging Face names, with the shapes that they must have.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/model/config.hpp"

namespace dodeca::runtime {

enum class Slicing { kNone, kExperts, kHeads };

struct WantedWeight {
  std::string name;     // GGUF
  std::string hf_name;  // one tensor; kExperts: "{}" stands for the expert; empty: derived from kv_b_proj
  std::int64_t n_in = 0, n_out = 1, n_slices = 1;
  Slicing slicing = Slicing::kNone;
  bool vector = false;  // 1-D in the file: a norm or a bias
  bool optional = false;
};

// Everything outside the layers and all main layers; with `mtp` only the multi-token-prediction layers instead.
std::vector<WantedWeight> wanted_weights(const ModelConfig& config, bool mtp);

// The two halves of kv_b_proj per head: rows [0, qk_nope_head_dim) make the key, the rest the value.
inline constexpr const char* kKvB = "attn_kv_b.weight";

}  // namespace dodeca::runtime
