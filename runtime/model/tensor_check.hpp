// Whether a file's tensors are those of the model and no others. What a model would not notice changes its results in
// silence: an optional tensor that one layer lacks, a bias that nobody adds, a tensor under a name that nobody knows.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/log.hpp"
#include "runtime/model/config.hpp"
#include "runtime/model/wanted.hpp"
#include "runtime/model/weight_source.hpp"

namespace dodeca::runtime {

// Optional weights of one kind are in every layer that could have them or in none, else Error{kBadFile} naming one of
// each. `there` is sorted by name.
void check_optional(const std::vector<WantedWeight>& wanted, const std::vector<WeightInfo>& there);

// `unused`: the tensors, under the file's names, that no weight comes from. Those that change nothing are said in one
// line, with the reason; for others Error{kUnsupported} with their number and the first of them.
void check_unused(const std::vector<std::string>& unused, const ModelConfig& config, const Log& log);

}  // namespace dodeca::runtime
