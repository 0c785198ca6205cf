// Plans of published shapes, and numbers that may be very small.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "runtime/cli/recipe_option.hpp"
#include "runtime/model/shapes.hpp"
#include "runtime/plan/plan.hpp"
#include "runtime/predict/machine_spec.hpp"

namespace dodeca::runtime::predict {

inline Plan planned_parts(const std::string& shape, const std::string& recipe, int n_parts) {
  const ModelConfig config = published_shape(shape);
  const auto types = cli::types_of(cli::parse_recipe("--recipe", recipe), config);
  return make_plan(config, random_weight_infos(config, types), {}, {},
                   {.isa = cpu::Isa::kScalar, .shares = equal_shares(n_parts)});
}
inline Plan planned(const std::string& shape, const std::string& recipe) { return planned_parts(shape, recipe, 1); }

inline Figure figure(double value) { return {value, Evidence::kAssumed, "a test"}; }

// Relative alone: Approx adds 1 to both sides, beside which microseconds are all alike.
inline doctest::Approx close_to(double value) { return doctest::Approx(value).scale(0); }

}  // namespace dodeca::runtime::predict
