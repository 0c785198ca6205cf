// How an operation's list of kernels (<op>.inc) becomes a choice. A list line is KERNEL(isa, function): the function
// lives in namespace dodeca::cpu::<isa> and in the file <op>_<isa>.cpp. The scalar line comes first and defines the
// results; every other line gives the same bits.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "cpu/isa.hpp"

namespace dodeca::cpu {

inline constexpr std::size_t kIsaCount = static_cast<std::size_t>(Isa::kAvx512Bf16) + 1;

namespace isa_tag {  // the namespace names as values, for the lists
inline constexpr Isa scalar = Isa::kScalar, avx2 = Isa::kAvx2, avx512 = Isa::kAvx512, avx512_vnni = Isa::kAvx512Vnni,
                     avx512_bf16 = Isa::kAvx512Bf16;
}  // namespace isa_tag

template <class Fn>
struct KernelLine {
  std::string_view name;  // "rms_norm_avx2"
  Isa isa;
  Fn* run;
};

// For every level the best line at or below it.
template <class Fn>
using KernelTable = std::array<Fn*, kIsaCount>;

template <class Fn, std::size_t N>
constexpr KernelTable<Fn> best_lines(const std::array<KernelLine<Fn>, N>& lines) {
  KernelTable<Fn> table{};
  for (std::size_t level = 0; level < kIsaCount; ++level) {
    Isa best = Isa::kScalar;
    for (const KernelLine<Fn>& line : lines) {
      if (static_cast<std::size_t>(line.isa) <= level && line.isa >= best) {
        best = line.isa;
        table[level] = line.run;
      }
    }
  }
  return table;
}

}  // namespace dodeca::cpu
