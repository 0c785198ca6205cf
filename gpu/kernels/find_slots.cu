#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/find_slots.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

DODECA_KERNEL(find_slots, FindSlotsArgs, kFindSlotsThreads) {
  const auto i = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= args.n) return;
  const std::int32_t slot = args.slot_of[args.ids[i]];
  args.slots[i] = slot;
  args.terms[i] = slot < 0 ? -1 : i;
}

}  // namespace dodeca::gpu::DODECA_KERNELS
