#include "cpu/kernels/matmul/stream.hpp"

#include "cpu/processor.hpp"

namespace dodeca::cpu {

StreamFetch stream_fetch() {
  const Processor processor = this_processor();
  if (processor.vendor != "AuthenticAMD") return StreamFetch::kIntoCaches;
  constexpr unsigned kZen5 = 26;  // its family, and Zen 6's
  return processor.family < kZen5 ? StreamFetch::kHardware : StreamFetch::kIntoL1;
}

}  // namespace dodeca::cpu
