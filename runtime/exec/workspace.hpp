// Every buffer of the forward pass. Blocks say what they demand; what several demand is as large as the largest, since
// one block runs after another. The same list is walked for counting bytes and for allocating them.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpu/memory.hpp"
#include "cpu/team.hpp"
#include "runtime/exec/activations.hpp"
#include "runtime/plan/plan.hpp"

namespace dodeca::runtime::exec {

// What a run is sized for.
struct RunSizes {
  std::int64_t micro_batch = 512;   // rows per pass
  std::int64_t n_positions = 8192;  // of the cache, over all sequences
  std::int32_t n_sequences = 1;
};

// Rows of activations; M is the micro-batch, P the parts of a block (each has its rows together), S = M * experts per
// token.
enum class RowBuffer {
  kResidual,   // [M, hidden] the residual stream
  kInput,      // [M, hidden] normalized: what a layer's block reads
  kOutput,     // [P * M, hidden] what a block adds to the residual stream: the sum of its parts, which part 0 becomes
  kHeadInput,  // [M, hidden] normalized rows that the head reads
  kMtpInput,   // [M, 2 * hidden] of multi-token prediction: normalized, the next token's embedding and the hidden row
  kQA,         // [M, q_lora]
  kKv,         // [M, latent + rope]; grouped queries: keys, [M, kv_heads * head_dim]
  kValues,     // [M, kv_heads * head_dim] of grouped queries
  kQuery,      // [M, heads * head dim]
  kAbsorbedQuery,  // [M, heads * (latent + rope)]
  kLatent,         // [M, heads * latent] attention's result before v_b
  kIndexKey,       // [M, index head dim]
  kIndexWeights,   // [M, index heads]
  kIndexQuery,     // [M, index heads * index head dim]
  kHeads,          // [P * M, heads of a part * v] input of the output projection
  kRouterLogits,   // [M, experts]
  kPieces,         // [pieces of the weights of a phase * few rows, results of a weight] before they are added up
  kGate,
  kUp,            // [P * slots of few rows, expert width], or [P * few rows, dense or shared width]
  kExpertHidden,  // [P * S, expert width]
  kDenseHidden,   // [P * M, dense or shared width]
  kPartSums,      // [P * (slots + pieces of a part) of few rows, hidden] products that are added to kOutput by blocks
  kLateInput,     // [few rows, hidden] floats of kInput, for experts that are multiplied behind the others
  kDeferredSums,  // [P * 2 * few rows, hidden] of experts that are added one layer later: odd layers, even layers
  kCount
};

// Other arrays of all members.
enum class ArrayBuffer {
  kAngles,         // float [M, rope.dim] cos and sin
  kRouteScratch,   // float [M, 2 * experts]
  kExpertIds,      // int32 [M, used]
  kExpertWeights,  // float [M, used]
  kSlotRows,       // int32 [S] row of a slot; slots are (row, expert) pairs sorted by expert
  kSlotWeights,    // float [S]
  kSlotBegin,      // int32 [experts + 1] first slot of each expert
  kSquares,        // float [M, blocks of a row] sums of squares behind a norm
  kBlockCounters,  // BlockCounter [P + 1, blocks of a phase]: of each part, and of all
  kQueryStrips,    // bytes [few rows, strips of heads, packed queries of absorbed attention]
  kIndexStrips,    // bytes [M, packed queries of the indexer]
  kIndexScores,    // [few rows, 2, positions] float scores of all positions, and uint32 space for choosing
  kChosen,         // int32 [M, top_k] positions that a sparse row attends to, ascending; of the last layer that chose
  kMasks,          // uint16 [M strips, positions below masked_positions()] of prompt rows, which of them they chose
  kPartials,       // float [partials of few rows, heads, 2 + latent] results of context chunks: max, sum, acc
  kCount
};

// Tiles of a block of results that are done, or parts of it; zero between phases.
struct alignas(64) BlockCounter {
  std::atomic<std::int64_t> done{0};
};

// Work space of one thread.
enum class ThreadBuffer {
  kMatmul,     // of multiply(), the largest
  kProducts,   // of a few tiles: [kPieceRows, kProductTiles * 16]
  kHeadActs,   // int8 rows of one head: [kHeadRows, act row]
  kAttention,  // queries, cache rows, scores and partial results of one unit
  kIndex,      // scores of all positions for some rows of a prompt, and space for choosing
  kFileRow,    // one row of a weight in file form
  kCount
};

inline constexpr std::int64_t kProductTiles = 32;  // tiles whose products wait to be used: kFfnTiles of gate and of up
inline constexpr std::int64_t kFfnTiles = 16;
inline constexpr std::int64_t kPieceRows = 256;  // rows of them
inline constexpr std::int64_t kHeadRows = 64;    // rows per unit in the per-head products

class Demand {
 public:
  explicit Demand(std::int64_t n_parts) : n_parts_(n_parts) {}
  void rows(RowBuffer buffer, std::int64_t n_rows, std::int64_t width);
  void part_rows(RowBuffer buffer, std::int64_t n_rows, std::int64_t width);  // so many for each part
  // A weight reads those rows.
  void read_by(RowBuffer buffer, const WeightPlan* weight);
  void array(ArrayBuffer buffer, std::int64_t n, std::size_t element_bytes);
  void scratch(ThreadBuffer buffer, std::size_t bytes);
  void products(std::int64_t micro_batch);  // scratch kProducts
  void blocks(std::int64_t n_blocks);       // of the results of a phase

  std::uint64_t bytes(int n_threads) const;

 private:
  friend class Workspace;
  template <class Key>
  static constexpr std::size_t kCountOf = static_cast<std::size_t>(Key::kCount);
  struct Rows {
    std::int64_t n_rows = 0, width = 0, n_parts = 1;  // n_rows of each
    ActFormats formats = {};
  };
  std::int64_t n_parts_;
  std::array<Rows, kCountOf<RowBuffer>> rows_ = {};
  std::array<std::size_t, kCountOf<ArrayBuffer>> arrays_ = {};    // bytes
  std::array<std::size_t, kCountOf<ThreadBuffer>> scratch_ = {};  // bytes
};

class Workspace {
 public:
  // part_nodes: the memory node of each part's rows; none: where they are first touched.
  explicit Workspace(const Demand& demand, std::span<const int> part_nodes = {});
  void ensure_threads(int n_threads);

  Activations& rows(RowBuffer buffer) { return rows_[static_cast<std::size_t>(buffer)]; }
  // Of a block of results of one part, or, table P, of all parts.
  BlockCounter& counter(std::int64_t table, std::int64_t block) {
    return array<BlockCounter>(ArrayBuffer::kBlockCounters)[table * n_counters_ + block];
  }
  template <class T>
  T* array(ArrayBuffer buffer) {
    return arrays_[static_cast<std::size_t>(buffer)].as<T>();
  }
  std::size_t array_bytes(ArrayBuffer buffer) const { return arrays_[static_cast<std::size_t>(buffer)].size(); }
  std::byte* scratch(const cpu::Member& member, ThreadBuffer buffer) {
    return threads_[member.index][static_cast<std::size_t>(buffer)].data();
  }

 private:
  Demand demand_;
  std::array<Activations, Demand::kCountOf<RowBuffer>> rows_;
  std::array<cpu::Buffer, Demand::kCountOf<ArrayBuffer>> arrays_;
  std::int64_t n_counters_ = 0;  // of a table
  std::vector<std::array<cpu::Buffer, Demand::kCountOf<ThreadBuffer>>> threads_;
};

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

}  // namespace dodeca::runtime::exec
