// Published models by their shapes alone, for planning and measuring where their files are not at hand.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/model/config.hpp"

namespace dodeca::runtime {

std::vector<std::string> shape_names();
// The published configuration; name is one of shape_names(), else Error{kBadRequest}.
ModelConfig published_shape(std::string_view name);

// Dense layers, then layers with experts; attention with grouped queries where the configuration has their head_dim.
void set_layers(ModelConfig& config, std::int64_t n_dense, std::int64_t n_moe);

}  // namespace dodeca::runtime
