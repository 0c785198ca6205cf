// The results of a batch put together from its units, in the order of the input.
#pragma once

#include <cstdint>

#include "runtime/batch/batch.hpp"
#include "runtime/batch/input_index.hpp"
#include "runtime/batch/run_folder.hpp"

namespace dodeca::runtime::batch {

struct Merged {
  BatchCounts counts;
  std::uint64_t results_bytes = 0, errors_bytes = 0;
};

// Writes options.output and options.errors, each whole or not at all, when every unit is done. Two processes that do it at
// the same time write the same. Error{kBadFile} when a unit has not one line for each of its requests.
//
// A process may sleep here until another has merged, and even until the user has begun anew. Whoever merged, or begins
// anew, removes first the folder and then the temporary files (end_earlier_runs). Temporary files that this process began
// before are then gone and get no name; what it begins after that finds no units.
Merged merge_units(const RunFolder& folder, const InputIndex& input, std::int64_t unit_requests,
                   const BatchOptions& options);

}  // namespace dodeca::runtime::batch
