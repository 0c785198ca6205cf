// What a plan says, as text for people and as JSON. Everything comes from the plan itself, and from what the executor
// will demand for a run of these sizes.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/device/offload.hpp"
#include "runtime/exec/executor.hpp"
#include "runtime/load/json.hpp"
#include "runtime/plan/plan.hpp"

namespace dodeca::runtime::cli {

struct PlannedRun {
  exec::ExecutorOptions executor;
  int n_threads = 1;
  std::int64_t context = 0;  // positions per sequence
  std::optional<device::Offload> offload = {};
  std::string cards = {};  // that could be used, or "none: " and why

  std::uint64_t cache_bytes(const Plan& plan) const {
    return exec::KvCache::bytes_needed(plan.config, executor.cache_options(plan));
  }
  std::string cache_types() const;  // as cache_types_text()
  std::uint64_t work_bytes(const Plan& plan) const { return exec::demand_of(plan, executor.sizes()).bytes(n_threads); }
};

// verbose: every weight with its kernels, and the faster ones that do not run here and why.
std::string plan_text(const Plan& plan, const PlannedRun& run, bool verbose);
Json plan_json(const Plan& plan, const PlannedRun& run);

}  // namespace dodeca::runtime::cli
