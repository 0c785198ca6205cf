// Hyper-parameters from the config.json of models with grouped queries (config.hpp says where they come in).
#pragma once

#include <span>
#include <string_view>

#include "runtime/model/config.hpp"
#include "runtime/model/hf_fields.hpp"

namespace dodeca::runtime {

std::span<const std::string_view> grouped_model_types();
// `type`: one of those. Not validated yet.
ModelConfig grouped_from_hf(std::string_view type, const HfFields& fields, const FindMatrix& size_of, const Log& log);

}  // namespace dodeca::runtime
