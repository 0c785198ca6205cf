// The emulation's side of gpu/kernels/tensor.hpp, which states the fragments.
#pragma once

#include <cstdint>

#include "gpu/emulation/block.hpp"
#include "gpu/emulation/warp.hpp"

namespace dodeca::gpu::emulation {

// One lane's part of a product. Matrices are put together from all lanes, multiplied, and taken apart again.
template <class T>
struct MmaOperand {
  const std::uint32_t* a;  // [4]
  std::uint32_t b[2];
  T* c;  // [4]
};
enum class MmaType { kBf16, kF16, kS8 };
// For all lanes; in the library, not observed.
template <MmaType type, class T>
void multiply_fragments(void* const operands[32]);

template <MmaType type, class T>
struct MmaCall : MmaOperand<T> {
  [[gnu::no_sanitize_thread]] static void complete(void* const operands[32], std::uint32_t) {
    multiply_fragments<type, T>(operands);
  }
};

inline constexpr std::uint32_t kWholeWarp = 0xffffffffu;

#define MMA(name, kind, type)                                                                                          \
  inline void name(type(&c)[4], const std::uint32_t(&a)[4], std::uint32_t b0, std::uint32_t b1,                        \
                   Site site = Site::current()) {                                                                      \
    MmaCall<MmaType::kind, type> operand{{a, {b0, b1}, c}};                                                            \
    together(#name, kWholeWarp, operand, site);                                                                        \
  }                                                                                                                    \
  inline void name(type(&c)[4], const std::uint32_t(&a)[4], const std::uint32_t(&b)[2], Site site = Site::current()) { \
    name(c, a, b[0], b[1], site);                                                                                      \
  }
MMA(mma_bf16, kBf16, float)
MMA(mma_f16, kF16, float)
MMA(mma_s8, kS8, int)
#undef MMA
inline void mma_s8_k16(int (&c)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b, Site site = Site::current()) {
  const std::uint32_t a[4] = {a0, a1, 0, 0};
  mma_s8(c, a, b, 0, site);
}

struct LdmatrixOperand {
  const void* row;
  std::uint32_t* result;  // [matrices]
  int matrices;
  bool transposed;
  static void complete(void* const operands[32], std::uint32_t mask);
};
template <int kMatrices>
void ldmatrix(const char* name, std::uint32_t (&r)[kMatrices], const void* row, bool transposed, const Site& site) {
  LdmatrixOperand operand{row, r, kMatrices, transposed};
  together(name, kWholeWarp, operand, site);
}
inline void ldmatrix_x2(std::uint32_t (&r)[2], const void* row, Site site = Site::current()) {
  ldmatrix("ldmatrix_x2", r, row, false, site);
}
inline void ldmatrix_x4(std::uint32_t (&r)[4], const void* row, Site site = Site::current()) {
  ldmatrix("ldmatrix_x4", r, row, false, site);
}
inline void ldmatrix_x2_trans(std::uint32_t (&r)[2], const void* row, Site site = Site::current()) {
  ldmatrix("ldmatrix_x2_trans", r, row, true, site);
}
inline void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row, Site site = Site::current()) {
  ldmatrix("ldmatrix_x4_trans", r, row, true, site);
}

// Bytes arrive when they are waited for, not before.
template <int kBytes>
[[gnu::no_sanitize_thread]] inline void cp_async(void* shared, const void* global, bool valid = true) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  current_block->copy_later(shared, global, kBytes, valid);
}
[[gnu::no_sanitize_thread]] inline void cp_async_commit() { current_block->commit_copies(); }
template <int kGroups>
[[gnu::no_sanitize_thread]] inline void cp_async_wait() {
  current_block->wait_for_copies(kGroups);
}

}  // namespace dodeca::gpu::emulation
