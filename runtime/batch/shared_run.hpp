// The run that several processes share, as OUTPUT.state tells of it: one begins it, the others join it, and what earlier
// runs left ends there.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "runtime/base/error.hpp"
#include "runtime/batch/batch.hpp"
#include "runtime/batch/input_index.hpp"
#include "runtime/batch/run_folder.hpp"
#include "runtime/batch/state.hpp"

namespace dodeca::runtime::batch {

// Joins the run that OUTPUT.state tells of, or begins one with units of so many requests. Error{kBadRequest} when that run
// has other requests, another model or other options, or is answered by one process alone.
State begin_or_join(const BatchOptions& options, const InputIndex& input, std::int64_t unit_requests);

// Error{kBadRequest} when the files of results are not those that were merged, by their sizes.
void require_whole_results(const BatchOptions& options, const State& merged);

// Why a process stops whose run OUTPUT.state does not tell of any more.
Error run_is_over(const BatchOptions& options, const std::optional<State>& there);

// What runs that are over left beside the results: from now on their processes change nothing, even one that sleeps just
// before it names its results (merge.hpp). `folders` are theirs: listed before OUTPUT.state said that they are over, so
// that a process which sleeps in here removes none of a run that was begun since.
void end_earlier_runs(const BatchOptions& options, std::span<const RunFolder> folders);

}  // namespace dodeca::runtime::batch
