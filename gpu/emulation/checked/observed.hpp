// Who sees the accesses of this host thread; null outside a block.
#pragma once

#include "gpu/emulation/checked/access_checker.hpp"

namespace dodeca::gpu::emulation {

extern thread_local constinit AccessChecker* observed;

}  // namespace dodeca::gpu::emulation
