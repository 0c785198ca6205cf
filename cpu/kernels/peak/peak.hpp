// Register-only loops: how many multiply-accumulates a core does when nothing is loaded or stored, the bound of every
// matrix product. All factors are 1, so the accumulators count the multiply-accumulates themselves.
//
// One instruction sequence per kind and level, the one that the products use: vpdpbusd, without VNNI
// vpmaddubsw + vpaddw and now and then vpmaddwd + vpaddd; vdpbf16ps; vfmadd231ps. AMX is used through oneDNN only and
// has no variant here.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "cpu/isa.hpp"
#include "cpu/kernels/peak/peak_kernels.hpp"

namespace dodeca::cpu {

enum class PeakKind { kInt8, kBf16, kF32 };

struct PeakKernel {
  std::string_view name;  // "peak_int8_avx512_vnni"
  Isa isa;
  PeakKind kind;
  // Returns the number of multiply-accumulates in `rounds` rounds, at most kMaxPeakRounds: sums stay exact.
  PeakFn* run;
};
inline constexpr std::int64_t kMaxPeakRounds = 1 << 17;

std::span<const PeakKernel> peak_kernels();
// The best variant that `isa` can run; null when there is none (BF16 below avx512_bf16).
const PeakKernel* select_peak(PeakKind kind, Isa isa);

// n additions, each of which waits for the one before: one per clock cycle on every x86 of the last 20 years. n is a
// multiple of 64. Returns the sum of n ones.
std::uint64_t dependent_adds(std::int64_t n) noexcept;

}  // namespace dodeca::cpu
