// Plans of published shapes, and numbers that may be very small.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "runtime/cli/recipe_option.hpp"
#include "runtime/model/shapes.hpp"
#include "runtime/plan/plan.hpp"

namespace dodeca::runtime::predict {

inline Plan planned(const std::string& shape, const std::string& recipe, std::int64_t n_dense = -1,
                    std::int64_t n_moe = -1) {
  ModelConfig config = published_shape(shape);
  const auto types = cli::types_of(cli::parse_recipe("--recipe", recipe), config.n_layers);
  if (n_dense >= 0) set_layers(config, n_dense, n_moe);
  return make_plan(config, random_weight_infos(config, types), {}, {}, {.isa = cpu::Isa::kScalar});
}

// Relative alone: Approx adds 1 to both sides, beside which microseconds are all alike.
inline doctest::Approx close_to(double value) { return doctest::Approx(value).scale(0); }

}  // namespace dodeca::runtime::predict
