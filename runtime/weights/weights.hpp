// Placed weights as the forward pass reads them. Everything here is read-only after load and owned by Model.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kernels/matmul/matmul.hpp"
#include "cpu/memory.hpp"
#include "runtime/model/config.hpp"
#include "runtime/plan/partition.hpp"

namespace dodeca::runtime {

// A weight in tiles: n_slices matrices of n_out rows and n_in columns, slice after slice.
struct PackedMatrix {
  const cpu::Layout* layout = nullptr;  // null: the model has no such weight
  const cpu::MatmulKernel* gemv = nullptr;
  const cpu::MatmulKernel* gemm = nullptr;
  std::int64_t gemm_min_rows = cpu::kGemmMinRows;
  const cpu::MatmulKernel* prompt = nullptr;                    // null: gemv and gemm for prompts too
  std::int64_t n_in = 0, n_out = 0, n_slices = 1, n_tiles = 0;  // tiles per slice
  std::size_t tile_bytes = 0;
  bool reference = false;  // tiles are 16 rows in file form, of type `dtype`; multiplied as decoded float32
  quant::DType dtype = quant::DType::kF32;
  cpu::Buffer data;

  const std::byte* slice(std::int64_t index) const {
    return data.data() + static_cast<std::size_t>(index * n_tiles) * tile_bytes;
  }
  std::uint64_t slice_bytes() const { return static_cast<std::uint64_t>(n_tiles) * tile_bytes; }
  explicit operator bool() const { return layout != nullptr; }
};

// One part of a feed-forward block: experts x (gate, up: rows `columns`; down: columns `columns`).
struct FfnPart {
  Span columns;                    // of the intermediate dimension
  std::vector<std::int32_t> slot;  // [n_experts] slice that holds the expert, -1: in another part
  PackedMatrix gate, up, down;
};

struct LayerWeights {
  std::vector<float> attn_norm, ffn_norm;  // [hidden]
  PackedMatrix q;                          // [heads * (nope + rope)] x hidden, without q_lora
  PackedMatrix q_a, q_b;                   // with q_lora
  std::vector<float> q_a_norm;             // [q_lora]
  PackedMatrix kv_a;                       // [latent + rope] x hidden
  std::vector<float> kv_a_norm;            // [latent]
  PackedMatrix k_b;                        // heads x [latent] x nope: absorbs q
  PackedMatrix v_b;                        // heads x [v] x latent
  std::vector<float> q_a_bias, kv_a_bias;  // added before the norms, or empty
  std::vector<float> output_bias;          // [hidden] or empty
  PackedMatrix k, v;                       // GQA: [kv_heads * head_dim] x hidden
  PackedMatrix output;                     // hidden x [heads * v]
  PackedMatrix router;                     // experts x hidden
  std::vector<float> router_bias;          // [experts] or empty
  std::vector<FfnPart> experts;            // routed, one per part; empty in dense layers
  std::vector<FfnPart> dense;              // the dense block, or the shared expert; one per part; may be empty
};

struct Weights {
  ModelConfig config;
  cpu::Isa isa = cpu::Isa::kScalar;
  bool compute_f32 = false;
  quant::DType embedding_type = quant::DType::kF32;
  std::size_t embedding_row_bytes = 0;
  cpu::Buffer embeddings;          // [vocab] rows in file form; empty when tied
  PackedMatrix output;             // [vocab] x hidden; also the embeddings when tied
  std::vector<float> output_norm;  // [hidden]
  std::vector<LayerWeights> layers;
  bool prompt_route = false;  // some weight multiplies prompt rows by another kernel
  std::uint64_t bytes = 0;
  std::uint64_t contents = 0;  // of all weights as they were read (runtime/model/contents.hpp)

  // One row of the embedding table as floats [hidden].
  void embedding(std::int32_t token, float* out) const;
};

}  // namespace dodeca::runtime
