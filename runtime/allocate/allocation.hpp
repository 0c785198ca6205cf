// Which type each tensor gets so that the expected divergence of the whole model is least within a number of bytes: a
// multiple-choice knapsack. The divergences of tensors add up, because the errors of different tensors are independent
// and divergence is quadratic in a small error.
//
// The Lagrangian relaxation (H. Everett, Operations Research 11, 1963) gives a bound below every solution; greedy steps
// along each tensor's lower convex hull reach all but the last upgrade of it, and exchanges between pairs of tensors
// use what is left. How far the result may be from the best is part of it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "quant/dtype.hpp"

namespace dodeca::runtime::allocate {

struct TypeOption {
  quant::DType dtype;
  std::uint64_t bytes = 0;  // in the file, padding included
  double divergence = 0;    // expected, of the model with this tensor alone in this type
  double token_bytes = 0;   // read for one generated token
};

struct TensorOptions {
  std::string name;
  bool routed = false;                   // a token reads only a part of it
  std::vector<TypeOption> options = {};  // at least one
};

struct Allocation {
  std::vector<std::size_t> chosen;  // [tensors] into options
  std::uint64_t bytes = 0;
  double divergence = 0, token_bytes = 0;
  double bound = 0;  // no allocation within the bytes has less divergence; 0 when speed counts too
};

// speed_weight w: what is made small is divergence * token_bytes^w; 0 looks at quality alone. Throws
// Error{kDoesNotFit} with the least possible bytes when even those exceed max_bytes.
Allocation best_allocation(std::span<const TensorOptions> tensors, std::uint64_t max_bytes, double speed_weight = 0);

}  // namespace dodeca::runtime::allocate
