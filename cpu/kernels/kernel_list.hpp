// How an operation's list of kernels (<op>.inc) becomes a choice. An entry is KERNEL(isa, function), one variant of the
// operation: the function lives in namespace dodeca::cpu::<isa> and in the file <op>_<isa>.cpp, and needs that instruction
// set. The scalar variant comes first and defines the results; every other one gives the same bits. Later ones are
// preferred.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/isa.hpp"

namespace dodeca::cpu {

namespace isa_tag {  // the namespace names as values, for the lists
#define ISA(name, constant, ...) inline constexpr Isa name = Isa::constant;
#include "cpu/isa.inc"
}  // namespace isa_tag

template <class Fn>
struct KernelVariant {
  std::string_view name;  // "rms_norm_avx2"
  Isa isa;                // what it needs
  Fn* run;
};

// The last variant that `isa` can run.
template <class Fn, std::size_t N>
const KernelVariant<Fn>& best_variant(const std::array<KernelVariant<Fn>, N>& variants, Isa isa) {
  std::size_t best = N - 1;
  while (best > 0 && !isa.has(variants[best].isa)) --best;
  return variants[best];
}

// Why a variant is not taken: "gemm_q2_k_avx512_vnni needs avx512_vnni, have avx2".
inline std::string refusal(std::string_view name, Isa needed, Isa have) {
  return std::string(name) + " needs " + name_of(needed) + ", have " + name_of(have);
}

// Why variants of a list are not taken with `isa`, a sentence each.
template <class Fn>
std::vector<std::string> refusals(std::span<const KernelVariant<Fn>> variants, Isa isa) {
  std::vector<std::string> sentences;
  for (const KernelVariant<Fn>& variant : variants) {
    if (!isa.has(variant.isa)) sentences.push_back(refusal(variant.name, variant.isa, isa));
  }
  return sentences;
}

}  // namespace dodeca::cpu
