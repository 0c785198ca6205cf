// The lines after a table: how far each result is from what memory and the arithmetic units allow, and what a slice's
// results mean for the whole model.
#pragma once

#include <string>
#include <vector>

#include "bench/report.hpp"

namespace dodeca::bench {

std::string memory_lines(const std::vector<Result>& results);       // generation: bytes against the read bandwidth
std::string arithmetic_lines(const std::vector<Result>& results);   // prompts: products against the peaks
std::string energy_lines(const std::vector<Result>& results);       // joules, where they are counted
std::string streaming_lines(const std::vector<Result>& results);    // prompts whose experts stream to a card
std::string hybrid_lines(const std::vector<Result>& results);       // a card and processors: both against each alone
std::string whole_model_lines(const std::vector<Result>& results);  // slices

}  // namespace dodeca::bench
