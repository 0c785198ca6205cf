// How long a step of generated rows takes on a machine: every phase of every block by its bytes, its products and the
// way in which the executor deals them, on the processors alone or beside a card.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/plan/plan.hpp"
#include "runtime/predict/machine_spec.hpp"
#include "runtime/predict/time_split.hpp"

namespace dodeca::runtime::predict {

struct StepRequest {
  int n_threads = 1;
  std::int64_t depth = 0;                        // cached positions of every sequence
  std::int64_t n_rows = 1;                       // sequences that generate together
  quant::DType cache_type = quant::DType::kF16;  // in memory
};

// A phase of one kind of block.
struct PhaseTime {
  std::string phase;
  BlockKind kind = BlockKind::kDenseFfn;
  std::int64_t n_blocks = 0;  // such blocks
  double bytes = 0;           // of one, read from memory
  double seconds = 0;         // of one, with its barrier
  Bound bound = Bound::kNodeBandwidth;
  double worst_member = 1, worst_complex = 1;  // most bytes of a member, of a complex / mean
};

struct StepTime {
  TimeSplit split;                          // of all blocks
  std::vector<PhaseTime> phases;            // on the processors
  std::vector<quant::DType> unknown_types;  // whose arithmetic was not measured and counts as nothing
  double bytes = 0;                         // read from memory
  double card_bytes = 0;                    // read from the card's memory
  double seconds() const { return split.sum(); }
};

// `plan`: with all blocks on the processors.
StepTime step_time(const Plan& plan, const MachineSpec& machine, const StepRequest& request);
// `placed`: the same plan behind device::place_blocks(); card_cache: of a position in a layer there, in bytes.
StepTime step_time_with_card(const Plan& plan, const Plan& placed, const MachineSpec& machine, const CardSpec& card,
                             std::uint64_t card_cache, const StepRequest& request);

// Blocks of a plan that are alike, up to the head: the first one, and how many there are.
struct BlockKindCount {
  std::size_t first = 0;
  std::int64_t n = 0;
};
std::vector<BlockKindCount> kinds_of_blocks(const Plan& plan);

}  // namespace dodeca::runtime::predict
