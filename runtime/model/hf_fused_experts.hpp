// The experts of gpt-oss's checkpoints: all of a layer in one tensor, gate and up rows of each by turns. MXFP4
// (_blocks with _scales), which becomes kMXFP4 without rounding, or floats, where a matrix lies transposed.
#pragma once

#include "runtime/model/hf_checkpoint.hpp"
#include "runtime/model/wanted.hpp"

namespace dodeca::runtime {

struct FusedExperts {
  const SafeTensor* values =
      nullptr;  // [experts, rows, blocks, 16], [experts, columns, rows] or, of biases, [experts, rows]
  const SafeTensor* scales = nullptr;  // [experts, rows, blocks]; null: floats
  bool bias = false;
  std::int64_t n_in = 0, n_rows = 0;     // of an expert in the tensor
  std::int64_t first_row = 0, step = 1;  // row r of the weight is row first_row + r * step there
  quant::DType dtype() const { return scales != nullptr ? quant::DType::kMXFP4 : values->dtype; }
};

// All shapes checked: Error{kBadFile} or Error{kUnsupported} with the name.
FusedExperts find_fused(const HfCheckpoint& checkpoint, const WantedWeight& wanted);
// Rows [begin, end) of an expert in dtype().
void read_fused(const HfCheckpoint& checkpoint, const FusedExperts& fused, std::int64_t expert, std::int64_t begin,
                std::int64_t end, std::byte* dst);

}  // namespace dodeca::runtime
