// Which variants of a kernel list run on this host. One that does not is named as skipped, or fails when the
// environment variable DODECA_REQUIRE_ISA names a level that includes it.
#pragma once

#include <doctest/doctest.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cpu/isa.hpp"

namespace dodeca::tests {

inline bool variant_runs(std::string_view name, cpu::Isa isa) {
  if (cpu::host_isa().has(isa)) return true;
  const std::string text = "skipped: " + std::string(name) + " needs " + std::string(cpu::name_of(isa)) +
                           ", this run has " + std::string(cpu::name_of(cpu::host_isa()));
  if (const char* required = std::getenv("DODECA_REQUIRE_ISA")) {
    const auto level = cpu::isa_from_name(required);
    REQUIRE_MESSAGE(level.has_value(), "DODECA_REQUIRE_ISA=", required, " is no level");
    CHECK_MESSAGE(!level->has(isa), text);
  } else {
    MESSAGE(text);
  }
  return false;
}

// Same bits, NaN equal to any NaN (which payload comes out of an operation on two is the processor's choice).
inline bool same_bits(const float* a, const float* b, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const bool both_nan = a[i] != a[i] && b[i] != b[i];
    if (!both_nan && std::bit_cast<std::uint32_t>(a[i]) != std::bit_cast<std::uint32_t>(b[i])) return false;
  }
  return true;
}

}  // namespace dodeca::tests
