// What instructions a kernel needs and a processor has: sets, ordered only by inclusion. A set is usable when the CPU has it
// and the operating system saves its state.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace dodeca::cpu {

// A set of instructions. The named ones (cpu/isa.inc) contain those that they go beyond:
//   kScalar      plain C++ as compiled for the build's baseline; every set contains it
//   kAvx2        AVX2, FMA, F16C, BMI2 (Haswell, Zen)
//   kAvx512      F, BW, DQ, VL, CD (Skylake-SP)
//   kAvx512Vnni  with VNNI, VBMI, VBMI2 (Ice Lake, Zen 4)
//   kAvx512Bf16  with BF16 (Sapphire Rapids, Zen 4)
class Isa {
 public:
#define ISA(name, constant, ...) static const Isa constant;
#include "cpu/isa.inc"
  constexpr Isa();

  // Whether all of `needed` is here.
  constexpr bool has(Isa needed) const { return (needed.bits_ & ~bits_) == 0; }
  constexpr Isa operator|(Isa other) const { return Isa(bits_ | other.bits_); }
  constexpr bool operator==(const Isa&) const = default;

 private:
  enum Bit : std::uint32_t {
#define ISA(name, constant, ...) constant##Bit,
#include "cpu/isa.inc"
  };
  static const Isa kNothing;  // what scalar code goes beyond
  constexpr explicit Isa(std::uint32_t bits) : bits_(bits) {}
  std::uint32_t bits_;
};

inline constexpr Isa Isa::kNothing{0u};
#define ISA(name, constant, contains, ...) \
  inline constexpr Isa Isa::constant{(1u << Isa::constant##Bit) | Isa::contains.bits_};
#include "cpu/isa.inc"

constexpr Isa::Isa() : bits_(kScalar.bits_) {}

std::string name_of(Isa isa);  // "avx512_vnni"; of a set without a name of its own the names that make it up: "a+b"
std::optional<Isa> isa_from_name(std::string_view name);  // of the named sets
std::span<const Isa> built_isas();  // the named sets compiled into this program, in the list's order
Isa detected_isa();                 // all that this host runs and this program has

// detected_isa(), lowered by the environment variable DODECA_ISA. Throws std::invalid_argument naming the value and the
// known sets when the variable holds anything else, or a set that this host cannot run.
Isa host_isa();

}  // namespace dodeca::cpu
