// The run that several processes share, as OUTPUT.state tells of it: one begins it, the others join it, and what earlier
// runs left ends there.
#pragma once

#include <cstdint>

#include "runtime/batch/batch.hpp"
#include "runtime/batch/input_index.hpp"
#include "runtime/batch/state.hpp"

namespace dodeca::runtime::batch {

// Joins the run that OUTPUT.state tells of, or begins one with units of so many requests. Error{kBadRequest} when that run
// has other requests, another model or other options, or is answered by one process alone.
State begin_or_join(const BatchOptions& options, const InputIndex& input, std::int64_t unit_requests);

}  // namespace dodeca::runtime::batch
