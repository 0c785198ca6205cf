// Who brings a stream of weights near: how a processor wants it fetched. About speed only. Measured: NOTES.md.
#pragma once

#include <cstdint>

namespace dodeca::cpu {

enum class StreamFetch : std::uint8_t {
  kHardware,   // AMD before Zen 5: the hardware, and instructions into L2 where the arithmetic takes longer than memory
  kIntoL1,     // Zen 5 and later: instructions into L1, always
  kIntoCaches  // others: instructions into L2, then into L1, always
};
StreamFetch stream_fetch();  // of this processor

}  // namespace dodeca::cpu
