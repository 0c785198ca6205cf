#include "cpu/isa.hpp"

#include <array>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace dodeca::cpu {
namespace {

struct Level {
  Isa isa;
  std::string_view name;
};
constexpr std::array kLevels{Level{Isa::kScalar, "scalar"}, Level{Isa::kAvx2, "avx2"}, Level{Isa::kAvx512, "avx512"},
                             Level{Isa::kAvx512Vnni, "avx512_vnni"}, Level{Isa::kAvx512Bf16, "avx512_bf16"}};

#ifdef DODECA_SCALAR_ONLY
constexpr std::array kBuilt{Isa::kScalar};
bool host_has(Isa isa) { return isa == Isa::kScalar; }
#else
constexpr std::array kBuilt{Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Vnni, Isa::kAvx512Bf16};

// __builtin_cpu_supports answers no for AVX and AVX-512 unless XCR0 says that the operating system saves their state.
bool host_has(Isa isa) {
  __builtin_cpu_init();
  switch (isa) {
    case Isa::kScalar:
      return true;
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
             __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    case Isa::kAvx512:
      return host_has(Isa::kAvx2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512cd");
    case Isa::kAvx512Vnni:
      return host_has(Isa::kAvx512) && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
             __builtin_cpu_supports("avx512vbmi2");
    case Isa::kAvx512Bf16:
      return host_has(Isa::kAvx512Vnni) && __builtin_cpu_supports("avx512bf16");
  }
  return false;
}
#endif

std::string known_levels() {
  std::string names;
  for (const Level& level : kLevels) names += (names.empty() ? "" : ", ") + std::string(level.name);
  return names;
}

}  // namespace

std::string_view name_of(Isa isa) { return kLevels[static_cast<std::size_t>(isa)].name; }

std::optional<Isa> isa_from_name(std::string_view name) {
  for (const Level& level : kLevels) {
    if (level.name == name) return level.isa;
  }
  return std::nullopt;
}

std::span<const Isa> built_isas() { return kBuilt; }

Isa detected_isa() {
  Isa best = Isa::kScalar;
  for (Isa isa : kBuilt) {
    if (host_has(isa)) best = isa;
  }
  return best;
}

Isa host_isa() {
  const Isa detected = detected_isa();
  const char* wanted = std::getenv("DODECA_ISA");
  if (wanted == nullptr || *wanted == '\0') return detected;
  const std::optional<Isa> isa = isa_from_name(wanted);
  if (!isa) {
    throw std::invalid_argument("DODECA_ISA=" + std::string(wanted) +
                                " is no instruction-set level; known: " + known_levels());
  }
  if (*isa > detected) {
    throw std::invalid_argument("DODECA_ISA=" + std::string(wanted) + " cannot run here: the highest level is " +
                                std::string(name_of(detected)) + "; known: " + known_levels());
  }
  return *isa;
}

}  // namespace dodeca::cpu
