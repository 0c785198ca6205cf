// What PTX has and C++ has not: products of small matrices by a whole warp (mma), their loading from shared memory
// (ldmatrix), copies to shared memory that a thread does not wait for (cp.async). sm_80 and up. All 32 lanes take part.
//
// Fragments, with g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix Fragments for mma"):
//   16 x 16 of bf16 or f16, A: a[0] row g, a[1] row g+8, columns 2t, 2t+1; a[2], a[3] the same rows, columns 2t+8, 2t+9
//   16 x 8  of bf16 or f16, B: b[0] rows 2t, 2t+1 of column g; b[1] rows 2t+8, 2t+9
//   16 x 32 of int8, A:        a[0] row g, a[1] row g+8, columns 4t..4t+3; a[2], a[3] the same rows, columns 4t+16..
//   32 x 8  of int8, B:        b[0] rows 4t..4t+3 of column g; b[1] rows 4t+16..
//   16 x 8  of results:        c[0], c[1] row g, columns 2t, 2t+1; c[2], c[3] row g+8
// Lower bits hold the lower column (A) or row (B).
//
//   mma_bf16(c, a, b0, b1), mma_f16(...)   float c[4] += a[4] * b; how sums round is the card's own
//   mma_s8(c, a, b0, b1)                   int c[4] += a[4] * b, exact
//   mma_s8_k16(c, a0, a1, b)               the same with the lower 16 columns of A and rows of B alone
//   mma_*(c, a, b)                         the same with b[2]
//   ldmatrix_x2(r, row), ldmatrix_x4(r, row), and _trans: r[i] is the lane's share of the i-th 8 x 8 matrix of 16-bit
//       values: row g, columns 2t, 2t+1 (_trans: rows 2t, 2t+1 of column g). Lane 8i + j gives the address of row j of
//       matrix i: 16 bytes of shared memory, aligned. With x2, what lanes 16 to 31 give is not used.
//   cp_async<bytes>(shared, global, valid) 4, 8 or 16 bytes, both aligned to it; where not valid, zeros, and nothing is
//                                          read; valid is true when left out
//   cp_async_commit(); cp_async_wait<n>()  until at most the last n groups of this thread are on their way; other
//                                          threads see the bytes after a barrier that follows
#pragma once

#include <cstdint>

#include "gpu/kernels/dialect.hpp"

#ifdef __CUDACC__

namespace dodeca::gpu::cuda {

__device__ __forceinline__ void mma_bf16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                         std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void mma_f16(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                        std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void mma_s8(int (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void mma_s8_k16(int (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a0), "r"(a1), "r"(b));
}

#define DODECA_MMA_OF_ARRAY(name, type)                                                                       \
  __device__ __forceinline__ void name(type(&c)[4], const std::uint32_t(&a)[4], const std::uint32_t(&b)[2]) { \
    name(c, a, b[0], b[1]);                                                                                   \
  }
DODECA_MMA_OF_ARRAY(mma_bf16, float)
DODECA_MMA_OF_ARRAY(mma_f16, float)
DODECA_MMA_OF_ARRAY(mma_s8, int)
#undef DODECA_MMA_OF_ARRAY

__device__ __forceinline__ std::uint32_t shared_address(const void* address) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(address));
}
__device__ __forceinline__ void ldmatrix_x2(std::uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(std::uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

template <int kBytes>
__device__ __forceinline__ void cp_async(void* shared, const void* global, bool valid = true) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  const int n = valid ? kBytes : 0;
  if constexpr (kBytes == 16) {  // past the L1
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(n)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                 :
                 : "r"(shared_address(shared)), "l"(__cvta_generic_to_global(global)), "n"(kBytes), "r"(n)
                 : "memory");
  }
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" : : : "memory"); }
template <int kGroups>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" : : "n"(kGroups) : "memory");
}

}  // namespace dodeca::gpu::cuda

#else
#include "gpu/emulation/tensor.hpp"
#endif
