// CUDA's atomics. Threads run one at a time, so each is a plain operation; what the order of float additions gives is
// one of many legal results. Not inlined into kernels, so that an observed kernel's plain accesses are told from
// these.
#pragma once

#include <cstdint>

namespace dodeca::gpu::emulation {

// NOLINTBEGIN(readability-identifier-naming): CUDA's names
// Each returns the value before.
int atomicAdd(int* address, int value);
unsigned atomicAdd(unsigned* address, unsigned value);
float atomicAdd(float* address, float value);
int atomicMax(int* address, int value);
unsigned atomicMax(unsigned* address, unsigned value);
int atomicMin(int* address, int value);
unsigned atomicMin(unsigned* address, unsigned value);
int atomicExch(int* address, int value);
unsigned atomicExch(unsigned* address, unsigned value);
unsigned atomicOr(unsigned* address, unsigned value);
unsigned atomicAnd(unsigned* address, unsigned value);
int atomicCAS(int* address, int expected, int value);
unsigned atomicCAS(unsigned* address, unsigned expected, unsigned value);
unsigned long long atomicMax(unsigned long long* address, unsigned long long value);
// NOLINTEND(readability-identifier-naming)

}  // namespace dodeca::gpu::emulation
