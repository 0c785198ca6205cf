#include "bench/extrapolation.hpp"

#include <algorithm>

namespace dodeca::bench {

Extrapolation extrapolate(double total_ns, double output_ns, double dense_ns, LayerCounts held, LayerCounts whole) {
  Extrapolation e{.held = held, .whole = whole, .output_ns = output_ns, .dense_ns = dense_ns};
  if (whole.moe == 0 && held.dense > 0)
    e.dense_ns = std::max(0.0, (total_ns - output_ns) / static_cast<double>(held.dense));
  const double rest = total_ns - output_ns - dense_ns * static_cast<double>(held.dense);
  if (held.moe > 0) e.moe_ns = std::max(0.0, rest / static_cast<double>(held.moe));
  return e;
}

std::int64_t n_outputs(std::int64_t n_prompt, std::int64_t n_batch, std::int64_t n_gen) {
  return (n_prompt + n_batch - 1) / n_batch + n_gen;
}

}  // namespace dodeca::bench
