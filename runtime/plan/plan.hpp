// What was decided about a model on a machine before anything is read: which blocks run where and in how many parts,
// how each weight is stored and which kernels multiply it, what a token reads, and why. make_plan() is a pure function
// of its arguments; the loader, the executor, the bench and `dodeca plan` read a plan and decide nothing again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/crews.hpp"
#include "cpu/isa.hpp"
#include "cpu/kernels/matmul/matmul.hpp"
#include "runtime/model/config.hpp"
#include "runtime/model/weight_source.hpp"
#include "runtime/plan/machine.hpp"
#include "runtime/plan/numa.hpp"
#include "runtime/plan/partition.hpp"

namespace dodeca::runtime {

enum class Storage {
  kRows,       // as in the file: embeddings (one row is looked up) and small vectors
  kPacked,     // in the tiles of its layout
  kReference,  // rows in file form, decoded 16 at a time into a float32 tile when multiplied: the float32 route, and
               // types without kernels of their own
};
std::string_view name_of(Storage storage);

// What one part holds of a weight. Spans may be empty: the part has nothing of it.
struct WeightPart {
  std::vector<std::int64_t> slices;  // experts or heads, ascending
  Span rows, columns;
};

enum class Place : std::uint8_t { kCpu, kDevice };
std::string_view name_of(Place place);

struct WeightPlan {
  WeightId id;
  std::string name;
  quant::DType dtype = quant::DType::kF32;
  Storage storage = Storage::kPacked;
  const cpu::Layout* layout = nullptr;  // null: kRows
  const cpu::MatmulKernel* gemv = nullptr;
  const cpu::MatmulKernel* gemm = nullptr;
  std::int64_t gemm_min_rows = cpu::kGemmMinRows;
  const cpu::MatmulKernel* prompt = nullptr;  // of prompt rows however many; null: gemv and gemm
  std::vector<std::string> refusals = {};     // faster kernels that do not run here, and why
  std::vector<WeightPart> parts = {};         // one per part of its block
  // Columns of a piece: where a phase has few tiles, each is stored and multiplied in pieces, whose results are added in
  // their order, so that many members get equal shares. It depends on shapes and types alone. n_in: one piece. A device
  // stores rows whole, and adds such pieces only where the processors' bits are wanted.
  std::int64_t piece_columns = 0;
  std::int64_t n_in = 0, n_out = 1, n_slices = 1;
  Place place = Place::kCpu;     // kDevice: no block on the processors reads it
  std::uint64_t bytes = 0;       // in memory, were it there
  double bytes_per_token = 0.0;  // read to generate one token: experts count by the share that is used

  std::int64_t stored_columns() const { return place == Place::kDevice ? n_in : piece_columns; }
  // Pieces of all its parts.
  std::int64_t n_pieces() const;
  std::uint64_t part_bytes(std::size_t part) const;  // of tiles; 0 for what is looked up
  std::uint64_t tile_bytes() const;                  // of 16 whole rows
};

enum class BlockKind { kEmbedding, kMlaAttention, kGqaAttention, kDenseFfn, kMoeFfn, kHead, kMtp };
std::string_view name_of(BlockKind kind);

// Rows that the weights of some roles are multiplied with: those that read the same rows are one input.
struct InputPlan {
  std::vector<WeightRole> roles;
  std::int64_t n_in = 0, n_slices = 1;
};

struct BlockPlan {
  BlockKind kind = BlockKind::kDenseFfn;
  std::int64_t layer = kNoLayer;
  Place place = Place::kCpu;          // where it runs: of a routed feed-forward, the router and the shared expert
  Place experts_place = Place::kCpu;  // the routed experts
  std::int64_t n_hot_experts = 0;     // of experts in memory, how many have a slot on the device too
  std::int64_t n_wave_experts = 0;    // and how many a wave has that streams to the device in passes of many rows
  std::int64_t n_deferred = 0;        // of a row's experts, in passes of few rows: added one layer later
  bool adds_deferred = false;         // those of the layer before
  bool decompresses = false;          // on a device: prompts attend with keys and values of each head
  std::string reason;                 // why there
  std::vector<Span> parts;  // of heads (key-value heads for grouped queries), of the intermediate dimension of dense
                            // blocks and shared experts, of the head's rows
  FfnCut experts;           // kMoeFfn: of the routed experts
  std::vector<std::size_t> weights = {};  // in Plan::weights
  std::vector<InputPlan> inputs = {};
  std::uint64_t bytes = 0;           // of weights in memory
  double bytes_per_token = 0.0;      // of weights, read to generate one token
  std::uint64_t bytes_per_pass = 0;  // of weights, read by a prompt's pass that reaches every expert
  std::string name() const;          // "layer 3 attention"
  Place place_of(WeightRole role) const { return is_routed(role) ? experts_place : place; }
  std::int64_t n_parts() const { return static_cast<std::int64_t>(parts.size()); }
};

struct PlanOptions {
  cpu::Isa isa = cpu::host_isa();
  bool compute_f32 =
      false;            // the reference route: weights decoded to float32 tile by tile, activations never quantized
  bool onednn = false;  // a prompt route: BF16 and F32 weights times prompt rows by oneDNN, in the weights' type
  cpu::MatmulTuning tuning = {};    // which kernels are the fastest here
  Shares shares = equal_shares(1);  // of the parts that blocks are cut into
  Placement placement = {};         // where the parts lie in memory
  int here = cpu::kAllParts;        // the part that this process holds and works on, others having the others
  bool mtp = false;                 // the multi-token-prediction layers too, where the model has them
};

struct Plan {
  ModelConfig config;
  PlanOptions options;
  Machine machine;
  std::vector<WeightPlan> weights = {};  // those of WeightSource::weights(); with mtp then those of mtp_weights()
  std::vector<BlockPlan> blocks = {};    // in the order in which they run; multi-token prediction behind the head
  std::uint64_t bytes = 0;               // of weights in memory
  double bytes_per_token = 0.0;
  bool prompt_route = false;  // some weight multiplies prompt rows by another kernel

  // Of memory: what a part holds, and what all share. Without what lies on a device.
  std::uint64_t part_bytes(std::size_t part) const;
  std::uint64_t shared_bytes() const;
  bool holds(std::int64_t part) const { return options.here == cpu::kAllParts || options.here == part; }
  std::uint64_t bytes_here() const;  // of weights in this process's memory
  std::int64_t n_parts() const { return static_cast<std::int64_t>(options.shares.size()); }
  std::int64_t n_layers() const { return config.n_layers + (options.mtp ? config.n_mtp_layers : 0); }
};

// The weights of a source that a plan is about.
Plan make_plan(const ModelConfig& config, const std::vector<WeightInfo>& weights,
               const std::vector<WeightInfo>& mtp_weights, const Machine& machine, const PlanOptions& options);
inline Plan make_plan(const WeightSource& source, const Machine& machine, const PlanOptions& options) {
  return make_plan(source.config(), source.weights(), source.mtp_weights(), machine, options);
}

// The kernels of a plan, a line each: "Q4_K: gemv_q4_k_avx2, from 9 rows gemm_q4_k_avx2".
std::vector<std::string> kernel_facts(const Plan& plan);

// Faster kernels that do not run here, and why, each once: "gemv_q4_k_avx512_vnni needs avx512_vnni, have avx2".
std::vector<std::string> refusals_of(const Plan& plan);

}  // namespace dodeca::runtime
