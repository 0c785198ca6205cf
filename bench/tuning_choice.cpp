#include "bench/tuning_choice.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "bench/statistics.hpp"

namespace dodeca::bench {
namespace {

constexpr std::size_t kRuleGemm = 5;  // index in kTuneRows: the first count that the rule gives to gemm
static_assert(kTuneRows[kRuleGemm - 1] + 1 == cpu::kGemmMinRows);
static_assert(kTuneRows.front() + 1 == cpu::kLeastGemmMinRows);
static_assert(kTuneRows[kTuneRows.size() - 2] + 1 == cpu::kMostGemmMinRows);

// The fastest of `variants` at the row counts [begin, end) that is clearly faster than the rule's, else the rule's.
const VariantTimes& fastest(const std::vector<VariantTimes>& variants, const cpu::MatmulKernel* rule, std::size_t begin,
                            std::size_t end, std::vector<std::string>& differences) {
  const VariantTimes& usual = *std::ranges::find(variants, rule, &VariantTimes::variant);
  const VariantTimes* best = &usual;
  double least = 1;
  for (const VariantTimes& variant : variants) {
    const TimeRatio ratio = time_ratio(variant, usual, begin, end);
    if (&variant == &usual || !ratio.clearly_faster() || ratio.median >= least) continue;
    best = &variant;
    least = ratio.median;
  }
  if (best != &usual)
    differences.push_back(fmt::format("{} takes {:.2f} of the time of {} at {} to {} rows", best->variant->name, least,
                                      rule->name, kTuneRows[begin], kTuneRows[end - 1]));
  return *best;
}

}  // namespace

TimeRatio time_ratio(const VariantTimes& a, const VariantTimes& b, std::size_t begin, std::size_t end) {
  std::vector<double> ratios;
  for (std::size_t round = 0; round < a.seconds[begin].size(); ++round) {
    double sum = 0;
    for (std::size_t n = begin; n < end; ++n) sum += a.seconds[n][round] / b.seconds[n][round];
    ratios.push_back(sum / static_cast<double>(end - begin));
  }
  std::ranges::sort(ratios);
  return {median(ratios), ratios[ratios.size() * 3 / 4]};
}

TuningChoice choose_variants(const TypeTimes& times, cpu::Isa isa) {
  TuningChoice choice;
  const cpu::MatmulChoice rule = cpu::select_matmul(times.dtype, isa);
  const VariantTimes& gemv = fastest(times.gemv, rule.gemv, 0, kRuleGemm, choice.differences);
  const VariantTimes& gemm = fastest(times.gemm, rule.gemm, kRuleGemm, kTuneRows.size(), choice.differences);
  std::size_t first = kRuleGemm;  // of the counts that gemm takes
  while (first > 1 && time_ratio(gemm, gemv, first - 1, first).clearly_faster()) --first;
  if (first == kRuleGemm)
    while (first + 1 < kTuneRows.size() && time_ratio(gemv, gemm, first, first + 1).clearly_faster()) ++first;
  choice.tuned = {times.dtype, gemv.variant->isa, gemm.variant->isa, kTuneRows[first - 1] + 1};
  if (first != kRuleGemm) {
    const std::size_t moved = first < kRuleGemm ? first : first - 1;  // the last count that changed hands
    choice.differences.push_back(fmt::format("gemm from {} rows on, not from {}: it takes {:.2f} of gemv's time at {}",
                                             choice.tuned.gemm_min_rows, cpu::kGemmMinRows,
                                             time_ratio(gemm, gemv, moved, moved + 1).median, kTuneRows[moved]));
  }
  return choice;
}

}  // namespace dodeca::bench
