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

namespace dodeca::runtime {

// Raised when the same command would write other bytes than before: unfinished files of earlier versions are not
// continued then.
inline constexpr int kQuantizeRevision = 1;

struct OutputTensor {
  std::string name;
  quant::DType dtype;                                   // in the new file
  std::vector<std::int64_t> dims;                       // dims[0] contiguous
  const WeightInfo* weight;                             // where its rows come from, or null:
  const GgufTensor* as_is;                              // a tensor that the model does not use, copied
  const ImportanceMatrix::Entry* importance = nullptr;  // of its columns, or null: all alike
  std::int64_t n_in() const { return dims[0]; }
  std::int64_t n_slices() const { return weight != nullptr ? weight->n_slices : 1; }
  std::int64_t rows_per_slice() const { return weight != nullptr ? weight->n_out : as_is->n_rows(); }
  std::size_t row_bytes() const { return *quant::row_bytes(dtype, dims[0]); }
  std::uint64_t bytes() const { return row_bytes() * static_cast<std::uint64_t>(n_slices() * rows_per_slice()); }
};

struct QuantizeOptions {
  TypeChoice types;
  bool keep_mtp = false;
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

// Pure planning: nothing is read but headers. Lines to `log`: MTP layers dropped or kept, fall-backs, overrides that
// match nothing, a source that is already quantized. The plan points into `source`.
QuantizePlan plan_quantization(const WeightSource& source, const QuantizeOptions& options, const Log& log);

// Writes `out` (under a temporary name until it is whole). progress counts bytes of the new file; returning false
// stops: Stopped. Error{kBadFile} names the tensor that holds NaN or infinity. With an identity, what a run did before
// it ended in any way stays in OUT.partial and is not done again; the file becomes the same. `isa` does not change it.
void quantize(const WeightSource& source, const QuantizePlan& plan, const std::filesystem::path& out, cpu::Team& team,
              const Progress& progress, const Log& log = {}, cpu::Isa isa = cpu::host_isa());

}  // namespace dodeca::runtime
