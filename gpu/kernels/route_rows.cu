#include "gpu/kernels/exp_exact.cuh"
#include "gpu/kernels/route_rows.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

__device__ inline float negative_infinity() { return __uint_as_float(0xff800000u); }

// Of `count` values how many stand before value i: larger ones, and equal ones with a lower index.
__device__ inline int rank_of(const float* values, int count, int i) {
  const float own = values[i];
  int better = 0;
  for (int j = 0; j < count; ++j) better += values[j] > own || (values[j] == own && j < i) ? 1 : 0;
  return better;
}

// The largest logit; NaN never wins. All threads of the block call this.
__device__ inline float largest_logit(float logit, int n_experts) {
  DODECA_SHARED(float, warps, [32]);
  const int e = static_cast<int>(threadIdx.x);
  float max = e < n_experts && logit == logit ? logit : negative_infinity();
  for (int step = 16; step > 0; step /= 2) max = fmaxf(max, __shfl_xor_sync(0xffffffffu, max, step));
  if (e % 32 == 0) warps[e / 32] = max;
  __syncthreads();
  for (int warp = 0; warp < static_cast<int>(blockDim.x) / 32; ++warp) max = fmaxf(max, warps[warp]);
  return max;
}

// The score of each expert, by the thread of the expert. All threads of the block call this.
__device__ inline float gate(RouteGating gating, float logit, int n_experts, float* scores, float* sum) {
  const int e = static_cast<int>(threadIdx.x);
  if (gating == RouteGating::kSigmoid) return 1.0f / (1.0f + exp_exact(-logit));
  const float share = exp_exact(logit - largest_logit(logit, n_experts));
  if (e < n_experts) scores[e] = share;
  __syncthreads();
  if (e == 0) {
    float all = 0.0f;
    for (int j = 0; j < n_experts; ++j) all += scores[j];
    *sum = all;
  }
  __syncthreads();
  return share / *sum;
}

__device__ inline float score_of_group(const float* choice, int size, RouteGroupScore kind) {
  float first = negative_infinity(), second = negative_infinity();
  for (int e = 0; e < size; ++e) {
    if (choice[e] > first) {
      second = first;
      first = choice[e];
    } else if (choice[e] > second) {
      second = choice[e];
    }
  }
  return kind == RouteGroupScore::kMax || size < 2 ? first : first + second;
}

DODECA_KERNEL(route_rows, RouteRowsArgs, kMostRoutedExperts) {
  DODECA_SHARED(float, scores, [kMostRoutedExperts]);
  DODECA_SHARED(float, choice, [kMostRoutedExperts]);
  DODECA_SHARED(float, groups, [kMostExpertGroups]);
  DODECA_SHARED(std::uint32_t, chosen, [32]);  // a bit per expert
  DODECA_SHARED(float, sum, [1]);
  const std::int64_t row = blockIdx.x;
  const int e = static_cast<int>(threadIdx.x), n = args.n_experts;
  const float logit = e < n ? args.logits[row * args.logits_stride + e] : 0.0f;
  const float score = gate(args.gating, logit, n, scores, sum);
  if (e < n) {
    const float value = args.bias != nullptr ? score + args.bias[e] : score;
    scores[e] = score;
    choice[e] = value == value ? value : negative_infinity();  // NaN must not win, nor stop others from winning
  }
  __syncthreads();
  if (args.n_groups > 1 && args.n_groups_used < args.n_groups) {
    const int size = n / args.n_groups;
    for (int g = e; g < args.n_groups; g += static_cast<int>(blockDim.x))
      groups[g] = score_of_group(choice + g * size, size, args.group_score);
    __syncthreads();
    if (e < n && rank_of(groups, args.n_groups, e / size) >= args.n_groups_used) choice[e] = negative_infinity();
    __syncthreads();
  }
  const bool wins = e < n && rank_of(choice, n, e) < args.n_used;
  const std::uint32_t winners = __ballot_sync(0xffffffffu, wins);
  if (e % 32 == 0) chosen[e / 32] = winners;
  __syncthreads();
  std::int32_t* const ids = args.ids + row * args.n_used;
  if (wins) {
    int place = __popc(winners & ((1u << (e % 32)) - 1));
    for (int word = 0; word < e / 32; ++word) place += __popc(chosen[word]);
    ids[place] = e;
  }
  if (e != 0) return;
  // By one thread, in the order of the ids.
  float* const weights = args.weights + row * args.n_used;
  const int words = (n + 31) / 32;
  float all = 0.0f;
  for (int word = 0; word < words; ++word) {
    for (std::uint32_t left = chosen[word]; left != 0; left &= left - 1)
      all += scores[32 * word + __ffs(static_cast<int>(left)) - 1];
  }
  int place = 0;
  for (int word = 0; word < words; ++word) {
    for (std::uint32_t left = chosen[word]; left != 0; left &= left - 1) {
      float weight = scores[32 * word + __ffs(static_cast<int>(left)) - 1];
      if (args.normalize) weight /= all + 1e-20f;
      weights[place++] = weight * args.scale;
    }
  }
}

}  // namespace dodeca::gpu::DODECA_KERNELS
