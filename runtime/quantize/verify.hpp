// What a new file is worth: read back from the disk, compared with the checksums of what was written and, value by
// value, with the source.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/quantize/quantize.hpp"

namespace dodeca::runtime::quantize {

struct VerifiedTensor {
  double square_error = 0, square = 0;  // sums over the weights; both 0 of tensors that were copied
  bool intact = false;                  // the data have the checksum of what was written
  double relative_error() const;        // root of the quotient: RMSE over the root mean square
};

struct Verification {
  std::vector<VerifiedTensor> tensors;  // as in the plan
  std::uint64_t checksum = 0;           // of the tensors' checksums as they were read
};

// Error{kBadFile} when the file lacks a tensor of the plan or has it in another form. progress counts bytes of the new
// file; returning false stops: Stopped. The sums do not depend on the team.
Verification verify(const WeightSource& source, const QuantizePlan& plan, const QuantizeResult& result, cpu::Team& team,
                    const Progress& progress, bool low_memory = false);

}  // namespace dodeca::runtime::quantize
