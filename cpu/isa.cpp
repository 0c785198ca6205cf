#include "cpu/isa.hpp"

#include <array>
#include <cstdlib>
#include <stdexcept>

namespace dodeca::cpu {
namespace {

struct NamedSet {
  Isa isa;
  std::string_view name;
};
constexpr std::array kSets{
#define ISA(name, constant, ...) NamedSet{Isa::constant, #name},
#include "cpu/isa.inc"
};

#ifdef DODECA_SCALAR_ONLY
constexpr std::array kBuilt{Isa::kScalar};
bool host_has(Isa isa) { return isa == Isa::kScalar; }
#else
constexpr std::array kBuilt{
#define ISA(name, constant, ...) Isa::constant,
#include "cpu/isa.inc"
};

// __builtin_cpu_supports answers no for AVX and AVX-512 unless XCR0 says that the operating system saves their state.
bool host_has(Isa isa) {
  __builtin_cpu_init();
#define HAS(feature) &&__builtin_cpu_supports(feature)
#define ISA(name, constant, contains, features) \
  if (isa.has(Isa::constant) && !(true features)) return false;
#include "cpu/isa.inc"
#undef HAS
  return true;
}
#endif

std::string known_sets() {
  std::string names;
  for (const NamedSet& set : kSets) names += (names.empty() ? "" : ", ") + std::string(set.name);
  return names;
}

}  // namespace

std::string name_of(Isa isa) {
  std::string names;
  for (std::size_t i = 0; i < kSets.size(); ++i) {
    bool largest = isa.has(kSets[i].isa);  // and not part of another that is there
    for (std::size_t k = 0; k < kSets.size(); ++k) {
      largest = largest && (k == i || !isa.has(kSets[k].isa) || !kSets[k].isa.has(kSets[i].isa));
    }
    if (largest) names += (names.empty() ? "" : "+") + std::string(kSets[i].name);
  }
  return names;
}

std::optional<Isa> isa_from_name(std::string_view name) {
  for (const NamedSet& set : kSets) {
    if (set.name == name) return set.isa;
  }
  return std::nullopt;
}

std::span<const Isa> built_isas() { return kBuilt; }

Isa detected_isa() {
  Isa all;
  for (const Isa isa : kBuilt) {
    if (host_has(isa)) all = all | isa;
  }
  return all;
}

Isa host_isa() {
  const Isa detected = detected_isa();
  const char* wanted = std::getenv("DODECA_ISA");
  if (wanted == nullptr || *wanted == '\0') return detected;
  const std::optional<Isa> isa = isa_from_name(wanted);
  if (!isa) {
    throw std::invalid_argument("DODECA_ISA=" + std::string(wanted) +
                                " is no instruction-set level; known: " + known_sets());
  }
  if (!detected.has(*isa)) {
    throw std::invalid_argument("DODECA_ISA=" + std::string(wanted) + " cannot run here: this host and program have " +
                                name_of(detected) + "; known: " + known_sets());
  }
  return *isa;
}

}  // namespace dodeca::cpu
