#include "bench/tuning_choice.hpp"

#include <doctest/doctest.h>

#include <cmath>

using namespace dodeca;
using namespace dodeca::bench;
using cpu::Isa;
using quant::DType;

#ifndef DODECA_SCALAR_ONLY
namespace {

constexpr int kRounds = 40;

// Times of `base` seconds times what `factor` says of the row count, with a jitter that is the same for all variants of a
// round and one of the variant's own.
template <class Factor>
VariantTimes times_of(const cpu::MatmulKernel* kernel, Factor factor, double jitter = 0.01) {
  VariantTimes times{kernel, {}};
  for (std::size_t n = 0; n < kTuneRows.size(); ++n) {
    std::vector<double> rounds;
    for (int round = 0; round < kRounds; ++round) {
      const double common = 1 + 0.5 * std::sin(round), own = 1 + jitter * std::sin(7.0 * round + kernel->name.back());
      rounds.push_back(static_cast<double>(kTuneRows[n]) * factor(kTuneRows[n]) * common * own);
    }
    times.seconds.push_back(std::move(rounds));
  }
  return times;
}

const cpu::MatmulKernel* gemv(Isa isa) { return cpu::exact_variant(cpu::gemv_kernels(), DType::kQ4_K, isa); }
const cpu::MatmulKernel* gemm(Isa isa) { return cpu::exact_variant(cpu::gemm_kernels(), DType::kQ4_K, isa); }

// Rule: avx512_vnni for both. f: how gemm's time stands to gemv's.
template <class F>
TypeTimes types(F f, double avx2_gemv = 1.5, double avx2_gemm = 1.5, double jitter = 0.01) {
  const auto same = [](double factor) { return [factor](std::int64_t) { return factor; }; };
  TypeTimes times{DType::kQ4_K, {}, {}, {}};
  times.gemv.push_back(times_of(gemv(Isa::kAvx2), same(avx2_gemv), jitter));
  times.gemv.push_back(times_of(gemv(Isa::kAvx512Vnni), same(1), jitter));
  times.gemm.push_back(times_of(
      gemm(Isa::kAvx2), [&](std::int64_t n) { return avx2_gemm * f(n); }, jitter));
  times.gemm.push_back(times_of(gemm(Isa::kAvx512Vnni), f, jitter));
  return times;
}

const auto kUsual = [](std::int64_t n) { return n < 9 ? 1.4 : 0.6; };
const cpu::TunedVariants kRule{DType::kQ4_K, Isa::kAvx512Vnni, Isa::kAvx512Vnni, cpu::kGemmMinRows};

TuningChoice chosen(const TypeTimes& times) { return choose_variants(times, Isa::kAvx512Bf16); }

}  // namespace

TEST_CASE("the ratio of two variants is that of each round, whatever else the round suffered") {
  const TypeTimes times = types(kUsual);
  const TimeRatio ratio = time_ratio(times.gemm[1], times.gemv[1], 0, 5);
  CHECK(ratio.median == doctest::Approx(1.4).epsilon(0.02));
  CHECK_FALSE(ratio.clearly_faster());
  CHECK(time_ratio(times.gemm[1], times.gemv[1], 5, 9).clearly_faster());
  CHECK_FALSE(time_ratio(times.gemv[1], times.gemv[1], 0, 9).clearly_faster());
}

TEST_CASE("the rule stays where nothing is clearly faster") {
  const TuningChoice same = chosen(types(kUsual));
  CHECK(same.tuned == kRule);
  CHECK(same.differences.empty());
  CHECK(chosen(types(kUsual, 0.98, 0.98)).tuned == kRule);       // 2 % is no reason
  CHECK(chosen(types(kUsual, 0.96, 0.96, 0.2)).tuned == kRule);  // lost in the spread
  CHECK(chosen(types([](std::int64_t) { return 1.0; })).tuned == kRule);
}

TEST_CASE("a lower level that is faster is taken, for few rows, for many, for both") {
  const TuningChoice few = chosen(types(kUsual, 0.7)), many = chosen(types(kUsual, 1.5, 0.7));
  CHECK(few.tuned == cpu::TunedVariants{DType::kQ4_K, Isa::kAvx2, Isa::kAvx512Vnni, 9});
  REQUIRE(few.differences.size() == 1);
  CHECK(few.differences[0] == "gemv_q4_k_avx2 takes 0.70 of the time of gemv_q4_k_avx512_vnni at 1 to 8 rows");
  CHECK(many.tuned == cpu::TunedVariants{DType::kQ4_K, Isa::kAvx512Vnni, Isa::kAvx2, 9});
  CHECK(chosen(types(kUsual, 0.7, 0.7)).tuned.gemv == Isa::kAvx2);
  CHECK(chosen(types(kUsual, 0.7, 0.7)).tuned.gemm == Isa::kAvx2);
}

TEST_CASE("gemm takes over where it becomes faster") {
  const auto from = [](std::int64_t rows) {
    return chosen(types([rows](std::int64_t n) { return n < rows ? 1.4 : 0.8; })).tuned.gemm_min_rows;
  };
  CHECK(from(1) == 2);  // never at one row
  CHECK(from(2) == 2);
  CHECK(from(6) == 5);
  CHECK(from(8) == 7);
  CHECK(from(12) == 9);
  CHECK(from(16) == 13);
  CHECK(from(128) == 33);
  CHECK(from(129) == 33);  // always at 128
  const TuningChoice early = chosen(types([](std::int64_t n) { return n < 6 ? 1.4 : 0.8; }));
  REQUIRE(early.differences.size() == 1);
  CHECK(early.differences[0] == "gemm from 5 rows on, not from 9: it takes 0.80 of gemv's time at 6");
}
#endif
