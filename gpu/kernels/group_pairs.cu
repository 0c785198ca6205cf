#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/group_pairs.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

// A warp counts an expert's pairs, then one thread adds the counts up, then a warp places an expert's pairs.
DODECA_KERNEL(group_pairs, GroupPairsArgs, kGroupPairsThreads) {
  DODECA_SHARED(std::int32_t, begins, [kMostGroupedExperts + 1]);
  const auto lane = static_cast<std::int32_t>(threadIdx.x % 32), warp = static_cast<std::int32_t>(threadIdx.x / 32),
             n_warps = static_cast<std::int32_t>(blockDim.x / 32);
  for (std::int32_t expert = warp; expert < args.n_experts; expert += n_warps) {
    std::int32_t count = 0;
    for (std::int32_t first = 0; first < args.n_pairs; first += 32) {
      const std::int32_t pair = first + lane;
      count += __popc(__ballot_sync(~0u, pair < args.n_pairs && args.ids[pair] == expert));
    }
    if (lane == 0) begins[expert + 1] = count;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    begins[0] = 0;
    for (std::int32_t expert = 0; expert < args.n_experts; ++expert) begins[expert + 1] += begins[expert];
  }
  __syncthreads();
  for (auto i = static_cast<std::int32_t>(threadIdx.x); i <= args.n_experts; i += static_cast<std::int32_t>(blockDim.x))
    args.begin[i] = begins[i];
  for (std::int32_t expert = warp; expert < args.n_experts; expert += n_warps) {
    std::int32_t slot = begins[expert];
    for (std::int32_t first = 0; first < args.n_pairs; first += 32) {
      const std::int32_t pair = first + lane;
      const bool mine = pair < args.n_pairs && args.ids[pair] == expert;
      const std::uint32_t all = __ballot_sync(~0u, mine);
      if (mine) {
        const std::int32_t own = slot + __popc(all & ((1u << lane) - 1u));
        args.rows[own] = pair / args.n_used;
        args.slots[pair] = own;
      }
      slot += __popc(all);
    }
  }
}

}  // namespace dodeca::gpu::DODECA_KERNELS
