// Kernels with a mistake each, which the emulation must find; and next to some of them the same done right.
#pragma once

#include "gpu/emulation/block.hpp"

namespace dodeca::gpu {

struct WrongArgs {
  float* out;       // [n]
  const float* in;  // [n]
  int n;
};

#define WRONG_KERNELS(KERNEL)                                                          \
  KERNEL(barrier_of_half)         /* half of the threads never come */                 \
  KERNEL(barrier_after_return)    /* a thread has ended before */                      \
  KERNEL(two_barriers)            /* the halves wait at different places */            \
  KERNEL(shuffle_of_half)         /* a shuffle names lanes that are elsewhere */       \
  KERNEL(shuffle_with_wrong_mask) /* a lane does not name itself */                    \
  KERNEL(shuffle_from_outside)    /* a shuffle reads a lane that does not take part */ \
  KERNEL(writes_behind)           /* the value behind the last */                      \
  KERNEL(reads_behind)                                                                 \
  KERNEL(writes_far_away) /* memory of nobody, if it were done */                      \
  KERNEL(reads_unwritten_shared)                                                       \
  KERNEL(shared_overflow)   /* the element behind a shared array */                    \
  KERNEL(race)              /* a neighbour's value without a barrier */                \
  KERNEL(race_avoided)      /* the same with __syncthreads */                          \
  KERNEL(warp_race)         /* shuffles do not order memory */                         \
  KERNEL(warp_race_avoided) /* __syncwarp does */                                      \
  KERNEL(reuse_race)        /* written again while others may still read */            \
  KERNEL(atomics)           /* no race among atomics */                                \
  KERNEL(atomic_race)       /* but with a plain access */                              \
  KERNEL(copy_not_awaited)  /* cp.async without a wait */                              \
  KERNEL(copy_awaited)                                                                 \
  KERNEL(ldmatrix_unaligned)                                                           \
  KERNEL(too_much_shared)

#define DECLARE(name) extern const emulation::Kernel name##_kernel;
namespace emulated {
WRONG_KERNELS(DECLARE)
}
namespace checked {
WRONG_KERNELS(DECLARE)
}
#undef DECLARE

}  // namespace dodeca::gpu
