// Every buffer of the forward pass, sized once for a model, a micro-batch and a number of threads. Shapes in brackets;
// M is the micro-batch, S = M * experts per token the number of (row, expert) slots.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "cpu/memory.hpp"
#include "cpu/team.hpp"
#include "runtime/exec/kv_cache.hpp"
#include "runtime/exec/multiply.hpp"
#include "runtime/exec/rows.hpp"
#include "runtime/weights/weights.hpp"

namespace dodeca::runtime {

// Positions that are folded one after another into one partial result; partial results are merged in order. A fixed
// number, so that the bits do not depend on how the work was split.
inline constexpr std::int64_t kContextChunk = 512;
// Rows of one sequence that share the decoding of a cache block.
inline constexpr std::int64_t kRowGroup = 8;

// Offsets of the parts of one buffer, each on a cache line of its own.
class BufferParts {
 public:
  std::size_t take(std::size_t bytes) {
    const std::size_t begin = end_;
    end_ += (bytes + 63) / 64 * 64;
    return begin;
  }
  std::size_t total() const { return end_; }

 private:
  std::size_t end_ = 0;
};

struct ThreadSpace {
  cpu::Buffer matmul;     // multiply_scratch_bytes, the largest
  cpu::Buffer tiles;      // products of a few tiles: [kSlotPiece, kDownTiles * 16]
  cpu::Buffer acts;       // int8 rows of one head: [kHeadRows, act row]
  cpu::Buffer attention;  // queries, cache rows, scores and partial results of one unit; see attention_absorbed.cpp,
                          // attention_decompressed.cpp
};

inline constexpr std::int64_t kNoBadPoint = std::int64_t{1} << 40;

struct Workspace {
  Workspace(const Weights& weights, std::int64_t micro_batch, std::int64_t n_positions, std::int32_t n_sequences);
  // From the configuration alone, for the memory check before loading; a slight over-estimate.
  static std::uint64_t bytes_needed(const ModelConfig& config, std::int64_t micro_batch, std::int64_t n_positions,
                                    std::int32_t n_sequences, int n_threads);
  void ensure_threads(const Weights& weights, int n_threads);

  std::int64_t micro_batch;
  Activations x;                           // [M, hidden] residual stream (floats only)
  Activations normed;                      // [M, hidden] input of a layer's first products
  Activations q_a;                         // [M, q_lora]
  Activations kv;                          // [M, latent + rope] (floats only); GQA: [M, 2 * kv_heads * head_dim]
  Activations q;                           // [M, heads * (nope + rope)] (floats only)
  Activations q_absorbed;                  // [M, heads * (latent + rope)] (floats only)
  Activations latent;                      // [M, heads * latent] attention's output before v_b (floats only)
  Activations heads;                       // [M, heads * v] input of the output projection
  Activations logits;                      // [M, experts] of the router (floats only)
  Activations h_experts;                   // [S, expert width]
  Activations h_dense;                     // [M, dense or shared width]
  std::vector<float> angles;               // [M, rope.dim] cos and sin
  std::vector<float> route_scratch;        // [M, 2 * experts]
  std::vector<std::int32_t> expert_ids;    // [M, used]
  std::vector<float> expert_weights;       // [M, used]
  std::vector<std::int32_t> slot_row;      // [S] row of a slot, slots sorted by expert
  std::vector<float> slot_weight;          // [S]
  std::vector<std::int32_t> expert_begin;  // [experts + 1] first slot of each expert
  std::int64_t max_partials;               // (row, chunk) pairs that `partials` holds
  cpu::Buffer partials;                    // [max_partials, heads, 2 + latent]: max, sum, acc
  std::vector<ThreadSpace> threads;
  cpu::WorkCounter counter[3];          // alternating between phases; the last for decompressed attention
  std::atomic<std::int64_t> bad_point;  // first point with a non-finite activation (pass.hpp), or kNoBadPoint
};

inline constexpr std::int64_t kFfnTiles = 16;    // tiles of gate and of up that are computed together
inline constexpr std::int64_t kDownTiles = 32;   // tiles of down
inline constexpr std::int64_t kSlotPiece = 256;  // slots whose products of so many tiles wait to be used
inline constexpr std::int64_t kHeadRows = 64;    // rows per unit in the per-head products

}  // namespace dodeca::runtime
