// Published models by their shapes alone, for planning and measuring where their files are not at hand.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "quant/dtype.hpp"
#include "runtime/model/config.hpp"
#include "runtime/model/weight_role.hpp"

namespace dodeca::runtime {

std::vector<std::string> shape_names();
// The published configuration; name is one of shape_names(), else Error{kBadRequest}.
ModelConfig published_shape(std::string_view name);

// Of a matrix in the published checkpoint, where that is no FP8: what `copy` keeps.
quant::DType published_type(const ModelConfig& config, WeightRole role);

// Dense layers, then layers with experts; attention with grouped queries where the configuration has their head_dim.
// Windows go by turns, as the first two layers had them.
void set_layers(ModelConfig& config, std::int64_t n_dense, std::int64_t n_moe);

}  // namespace dodeca::runtime
