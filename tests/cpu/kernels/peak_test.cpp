#include "cpu/peak.hpp"

#include <doctest/doctest.h>

#include "tests/support/kernel_variants.hpp"

using namespace dodeca;

TEST_CASE("peak loops count their multiply-accumulates exactly") {
  for (const cpu::PeakKernel& variant : cpu::peak_kernels()) {
    if (!tests::variant_runs(variant.name, variant.isa)) continue;
    CAPTURE(variant.name);
    const double one = variant.run(1);
    CHECK(one >= 8);
    CHECK(variant.run(0) == 0);
    CHECK(variant.run(1000) == 1000 * one);
    CHECK(variant.run(cpu::kMaxPeakRounds) == static_cast<double>(cpu::kMaxPeakRounds) * one);
  }
  CHECK(cpu::dependent_adds(64 * 100) == 64 * 100);
}

TEST_CASE("the best peak variant at most at a level is taken") {
  CHECK(cpu::select_peak(cpu::PeakKind::kInt8, cpu::Isa::kScalar)->name == "peak_int8_scalar");
  CHECK(cpu::select_peak(cpu::PeakKind::kBf16, cpu::Isa::kScalar) == nullptr);
  for (const cpu::PeakKernel& variant : cpu::peak_kernels())
    CHECK(cpu::select_peak(variant.kind, variant.isa) == &variant);
}

TEST_CASE("peaks and clock of a team are positive") {
  cpu::Team team(2);
  CHECK(cpu::peak_macs(team, cpu::PeakKind::kInt8, 0.001) > 1e6);
  CHECK(cpu::peak_macs(team, cpu::PeakKind::kBf16, 0.001, cpu::Isa::kScalar) == 0);
  CHECK(cpu::clock_hz(team, 0.001) > 1e7);
}
