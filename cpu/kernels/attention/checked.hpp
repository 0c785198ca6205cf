// Where checks are on, every step of integer attention is entered through its contract (integer_kernels.hpp).
#pragma once

#include "cpu/kernels/attention/integer_kernels.hpp"
#include "quant/check.hpp"

namespace dodeca::cpu {

void check_step(const PackQueriesArgs& args) noexcept;
void check_step(const LoadCacheArgs& args) noexcept;
void check_step(const LoadHeadArgs& args) noexcept;
void check_step(const LoadRowsArgs& args) noexcept;
void check_step(const ProjectArgs& args) noexcept;
void check_step(const FoldArgs& args) noexcept;

template <const IntegerAttention& kSteps, auto kStep, class Args>
void run_checked(const Args& args) noexcept {
  check_step(args);
  (kSteps.*kStep)(args);
}

template <const IntegerAttention& kSteps>
inline constexpr IntegerAttention kCheckedSteps = {
    .pack_queries = run_checked<kSteps, &IntegerAttention::pack_queries, PackQueriesArgs>,
    .load_cache = run_checked<kSteps, &IntegerAttention::load_cache, LoadCacheArgs>,
    .load_head = run_checked<kSteps, &IntegerAttention::load_head, LoadHeadArgs>,
    .load_rows = run_checked<kSteps, &IntegerAttention::load_rows, LoadRowsArgs>,
    .project = run_checked<kSteps, &IntegerAttention::project, ProjectArgs>,
    .fold = run_checked<kSteps, &IntegerAttention::fold, FoldArgs>};

template <const IntegerAttention& kSteps>
constexpr const IntegerAttention* checked() {
  if constexpr (kChecks)
    return &kCheckedSteps<kSteps>;
  else
    return &kSteps;
}

}  // namespace dodeca::cpu
