#include "gpu/emulation/atomics.hpp"

#include "gpu/emulation/block.hpp"

namespace dodeca::gpu::emulation {

namespace {

template <class T, class Operation>
T change(T* address, Operation operation) {
  current_block->touch_atomically(address, sizeof(T));
  const T before = *address;
  *address = operation(before);
  return before;
}
template <class T>
T wrapping_sum(T a, T b) {
  return static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b));
}

}  // namespace

// NOLINTBEGIN(readability-identifier-naming): CUDA's names
#define ATOMIC(name, type, expression)                                       \
  type name(type* address, type value) {                                     \
    return change(address, [=](type before) -> type { return expression; }); \
  }
ATOMIC(atomicAdd, int, wrapping_sum(before, value))
ATOMIC(atomicAdd, unsigned, before + value)
ATOMIC(atomicAdd, float, before + value)
ATOMIC(atomicMax, int, before < value ? value : before)
ATOMIC(atomicMax, unsigned, before < value ? value : before)
ATOMIC(atomicMax, unsigned long long, before < value ? value : before)
ATOMIC(atomicMin, int, value < before ? value : before)
ATOMIC(atomicMin, unsigned, value < before ? value : before)
ATOMIC(atomicExch, int, (static_cast<void>(before), value))
ATOMIC(atomicExch, unsigned, (static_cast<void>(before), value))
ATOMIC(atomicOr, unsigned, before | value)
ATOMIC(atomicAnd, unsigned, before& value)
#undef ATOMIC
int atomicCAS(int* address, int expected, int value) {
  return change(address, [=](int before) { return before == expected ? value : before; });
}
unsigned atomicCAS(unsigned* address, unsigned expected, unsigned value) {
  return change(address, [=](unsigned before) { return before == expected ? value : before; });
}
// NOLINTEND(readability-identifier-naming)

}  // namespace dodeca::gpu::emulation
