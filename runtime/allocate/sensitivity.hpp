// How much the model's predictions suffer from an error in a tensor: divergence = sensitivity * relative error of its
// outputs (weight_errors.hpp). Measured by rounding the tensors of one kind in a few layers and nothing else, or
// estimated from the kind alone by what such measurements gave on a small model of the same architecture.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quant/dtype.hpp"

namespace dodeca::runtime::allocate {

// Divergence per relative squared error, by tensor.
using Sensitivities = std::map<std::string, double, std::less<>>;

struct SensitivityGroup {
  std::string name;                  // "ffn_down_exps, layers 3 to 9"
  std::vector<std::size_t> tensors;  // into the names
};

// Tensors that are measured together: one kind (gate and up are one, and q_a and q_b), in neighbouring layers, which
// are cut into at most kMaxBands bands.
inline constexpr std::int64_t kMaxBands = 8;
std::vector<SensitivityGroup> sensitivity_groups(std::span<const std::string> names, std::int64_t n_layers);

// Divergence per relative squared error of a tensor of an n_layers-deep model, by its name alone.
double estimated_sensitivity(std::string_view name, std::int64_t n_layers);

// The type that a group is rounded to for its measurement: coarse enough to be heard, fine enough to stay linear.
quant::DType probe_type(std::string_view name);

}  // namespace dodeca::runtime::allocate
