// Units: consecutive requests of a batch that one worker claims, answers and finishes together.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/batch/batch.hpp"
#include "runtime/batch/input_index.hpp"

namespace dodeca::runtime::batch {

// Requests of one unit: a sixteenth of a worker's share, and at most 64, so that little is lost with a worker and the last
// ones end at about the same time.
std::int64_t requests_of_unit(std::int64_t n_requests, std::int64_t n_workers);

// Units are `unit_requests` lines of the input that follow each other.
std::int64_t count_units(std::int64_t n_lines, std::int64_t unit_requests);
std::span<const InputLine> lines_of_unit(const InputIndex& input, std::int64_t unit_requests, std::int64_t unit);

// The order in which a worker claims them. Its own share first, in order; then those of the others from their ends, where
// their owners come last.
std::vector<std::int64_t> order_of_units(std::int64_t n_units, const Shard& shard);

}  // namespace dodeca::runtime::batch
