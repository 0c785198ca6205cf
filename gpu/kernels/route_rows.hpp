// route_rows: the experts of each row and their weights, from the router's logits. The same ids, in ascending order, and
// the same bits of the weights as cpu::route (cpu/kernels/router), ties, NaN and infinities included; its header has the
// rules and their source.
//
// Per row: 4 bytes read for each expert (8 with a bias), 8 written for each one chosen; about 30 operations per expert
// for its score and one comparison with every other one. A block per row; the sum of softmax and of the chosen weights is
// taken by one thread, because its order is that of processors.
#pragma once

#include <cstdint>

#include "gpu/kernels/grid.hpp"

namespace dodeca::gpu {

enum class RouteGating : std::int32_t { kSoftmax, kSigmoid };
enum class RouteGroupScore : std::int32_t { kMax, kTop2Sum };

inline constexpr std::int32_t kMostRoutedExperts = 1024, kMostExpertGroups = 256;

struct RouteRowsArgs {
  const float* logits;  // [n_rows, n_experts], rows logits_stride values apart
  const float* bias;    // [n_experts], of the choice alone; or null
  std::int32_t* ids;    // [n_rows, n_used], ascending
  float* weights;       // [n_rows, n_used]
  std::int64_t logits_stride;
  std::int32_t n_rows, n_experts, n_used;  // 1 <= n_used <= n_experts <= kMostRoutedExperts
  std::int32_t n_groups, n_groups_used;    // 1, 1: no groups; n_groups divides n_experts, <= kMostExpertGroups
  RouteGroupScore group_score;
  RouteGating gating;
  bool normalize;  // divide by the sum of the chosen (+ 1e-20)
  float scale;     // what all weights are multiplied with
};

// One thread per expert.
inline Grid route_rows_grid(const RouteRowsArgs& args) {
  return {.blocks_x = static_cast<std::uint32_t>(args.n_rows),
          .threads = (static_cast<std::uint32_t>(args.n_experts) + 31) / 32 * 32};
}
inline std::uint64_t route_rows_bytes(const RouteRowsArgs& args) {
  const auto experts = static_cast<std::uint64_t>(args.n_experts), used = static_cast<std::uint64_t>(args.n_used);
  return static_cast<std::uint64_t>(args.n_rows) * (4 * experts + 8 * used) + (args.bias == nullptr ? 0 : 4 * experts);
}
inline std::uint64_t route_rows_operations(const RouteRowsArgs& args) {
  const auto experts = static_cast<std::uint64_t>(args.n_experts);
  return static_cast<std::uint64_t>(args.n_rows) * experts * (30 + experts);
}

}  // namespace dodeca::gpu
