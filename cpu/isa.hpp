// Instruction-set levels, a total order. A level is usable when the CPU has it and the operating system saves its
// state.
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace dodeca::cpu {

enum class Isa {
  kScalar,      // plain C++ as compiled for the build's baseline
  kAvx2,        // AVX2, FMA, F16C, BMI2 (Haswell, Zen)
  kAvx512,      // F, BW, DQ, VL, CD (Skylake-SP)
  kAvx512Vnni,  // with VNNI, VBMI, VBMI2 (Ice Lake, Zen 4)
  kAvx512Bf16,  // with BF16 (Sapphire Rapids, Zen 4)
};

std::string_view name_of(Isa isa);  // "scalar", "avx2", "avx512", "avx512_vnni", "avx512_bf16"
std::optional<Isa> isa_from_name(std::string_view name);
std::span<const Isa> built_isas();  // levels compiled into this program, lowest first
Isa detected_isa();                 // highest level that this host runs and this program has

// detected_isa(), lowered by the environment variable DODECA_ISA. Throws std::invalid_argument naming the value and the
// known levels when the variable holds anything else, or a level that this host cannot run.
Isa host_isa();

}  // namespace dodeca::cpu
