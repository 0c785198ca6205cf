// The phases of a generated row, as the executor's own blocks give them, without weights behind them: what a phase deals
// can be asked of any model and any machine. Nothing is read or computed.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/exec/block.hpp"
#include "runtime/plan/plan.hpp"

namespace dodeca::runtime::predict {

struct PhaseWalk {
  std::int64_t position = 511;           // of the first row of every sequence
  std::int64_t n_rows = 1;               // at most exec::kFewRows
  std::int64_t rows_per_sequence = 1;    // neighbours of one sequence are at consecutive positions
  bool drafts = false;                   // through layers of multi-token prediction
  std::vector<std::size_t> blocks = {};  // of the plan, in their order; empty: all up to the head
};

// Sees every phase; `pass` has experts chosen as a router would, anywhere among all, none twice where there are enough.
using PhaseVisitor = std::function<void(const BlockPlan& block, const exec::Phase& phase, const exec::Pass& pass)>;
// For plans whose blocks all run on the processors.
void walk_phases(const Plan& plan, const PhaseWalk& walk, const PhaseVisitor& visit);

}  // namespace dodeca::runtime::predict
