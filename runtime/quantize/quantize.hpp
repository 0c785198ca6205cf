// Quantizing a model: a plan (which tensor gets which type, the metadata), then the work, block of rows by block of
// rows. Memory is bounded by the team's size alone, whatever the tensors' sizes. The file is the same for every team.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cpu/isa.hpp"
#include "cpu/team.hpp"
#include "runtime/base/log.hpp"
#include "runtime/load/gguf.hpp"
#include "runtime/load/imatrix.hpp"
#include "runtime/model/weight_source.hpp"
#include "runtime/quantize/recipe.hpp"

namespace dodeca::runtime::quantize {

// Raised when the same command would write other bytes than before: unfinished files of earlier versions are not
// continued then.
inline constexpr int kQuantizeRevision = 1;

struct OutputTensor {
  std::string name;
  quant::DType dtype;                                   // in the new file
  std::vector<std::int64_t> dims;                       // dims[0] contiguous
  const WeightInfo* weight;                             // where its rows come from, or null:
  const GgufTensor* as_is;                              // a tensor of the source, copied
  const ImportanceMatrix::Entry* importance = nullptr;  // of its columns, or null: all alike
  const WeightInfo* key_half = nullptr;  // attn_kv_b: each head is this weight's, transposed, before that of `weight`
  std::int64_t n_in() const { return dims[0]; }
  std::int64_t n_slices() const { return weight != nullptr ? weight->n_slices : 1; }
  std::int64_t rows_per_slice() const {
    if (weight == nullptr) return as_is->n_rows();
    return weight->n_out + (key_half != nullptr ? key_half->n_in : 0);
  }
  std::size_t row_bytes() const { return *quant::row_bytes(dtype, dims[0]); }
  std::uint64_t bytes() const { return bytes(dtype); }
  std::uint64_t bytes(quant::DType in) const {  // whose blocks divide the rows
    return *quant::row_bytes(in, dims[0]) * static_cast<std::uint64_t>(n_slices() * rows_per_slice());
  }
  std::int64_t n_weights() const { return n_in() * n_slices() * rows_per_slice(); }
};

struct QuantizeOptions {
  TypeChoice types;
  bool keep_mtp = false;
  bool fused_kv_b = false;                    // the older layout: attn_kv_b instead of attn_k_b and attn_v_b
  std::vector<std::string> override_kv;       // KEY=TYPE:VALUE, applied to the new file's metadata
  const ImportanceMatrix* imatrix = nullptr;  // must outlive the plan
  std::string imatrix_file;                   // its name, for the new file's metadata
};

struct QuantizePlan {
  Metadata metadata;
  std::string identity;  // of everything that the data depend on besides the plan: a killed run goes on where it is the
                         // same; empty: runs are not continued
  std::vector<OutputTensor> tensors;
  std::uint64_t tensor_bytes() const;
  std::int64_t n_weights() const;
  double bits_per_weight() const {
    return 8.0 * static_cast<double>(tensor_bytes()) / static_cast<double>(n_weights());
  }
};

// Pure planning: nothing is read but headers. Lines to `log`: MTP layers dropped or kept, fall-backs, overrides and
// parts of a recipe's file that match nothing, a source that is already quantized. The plan points into `source`.
QuantizePlan plan_quantization(const WeightSource& source, const QuantizeOptions& options, const Log& log);

struct WriteOptions {
  SplitLimits split;
  bool low_memory = false;  // smaller pieces of work: slower with many threads
  bool restart = false;     // whatever an earlier run left unfinished is discarded
  cpu::Isa isa = cpu::host_isa();
  Log log = {};  // what is found of an earlier run
};

// Where the time went, summed over the members of the team.
struct WorkTimes {
  double seconds = 0, reading = 0, computing = 0, writing = 0;
  int team_size = 1;
  std::uint64_t bytes_read = 0;  // of the source
  std::int64_t n_weights = 0;
  bool limited_by_disk() const { return reading + writing > computing; }
};

struct QuantizeResult {
  std::vector<GgufWriter::File> files;
  std::vector<std::uint64_t> checksums;  // of each tensor's data as they were written
  WorkTimes times;                       // of this run alone, when an earlier one did a part
};

// The files that write_quantized() would write.
std::vector<GgufWriter::File> output_files(const QuantizePlan& plan, const std::filesystem::path& out,
                                           const SplitLimits& split = {});

// The memory that write_quantized() and verify() allocate at most.
std::uint64_t working_bytes(const QuantizePlan& plan, int team_size, bool low_memory);

// Writes `out` (under temporary names until it is whole). progress counts bytes of the new file; returning false
// stops: Stopped. Error{kBadFile} names the tensor that holds NaN or infinity. With an identity, what a run did before
// it ended in any way stays in OUT.partial and is not done again; the file becomes the same. `isa` does not change it.
// Error{kBadRequest} when what is there was begun with other inputs or options, unless it is a restart.
QuantizeResult write_quantized(const WeightSource& source, const QuantizePlan& plan, const std::filesystem::path& out,
                               cpu::Team& team, const WriteOptions& options = {}, const Progress& progress = {});

}  // namespace dodeca::runtime::quantize
