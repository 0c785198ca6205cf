// How long a step of generated rows takes on a machine: every phase of every block by its bytes, its products and the
// way in which the executor deals them. A plan that is cut into parts has one for each memory node; a phase then takes as
// long as the slowest of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/plan/plan.hpp"
#include "runtime/predict/machine_spec.hpp"
#include "runtime/predict/time_split.hpp"

namespace dodeca::runtime::predict {

// Of the uses of routed experts, what slots on a card serve: nobody knows before a run.
struct HotHits {
  enum class Kind { kUniform, kPublished, kGiven };
  Kind kind = Kind::kUniform;
  double given = 0;
  double of(std::int64_t n_slots, std::int64_t n_experts) const;  // 0 to 1
  std::string text() const;                                       // where the figure comes from
};

struct StepRequest {
  int n_threads = 1;
  std::int64_t depth = 0;                             // cached positions of every sequence
  std::int64_t n_rows = 1;                            // of all sequences that generate together
  std::int64_t rows_per_sequence = 1;                 // more than one: drafts are verified
  quant::DType cache_type = quant::DType::kF16;       // in memory
  std::optional<quant::DType> value_cache_type = {};  // of grouped queries; nothing: as the keys
  double experts_share = 1;                           // of the routed experts' work, what is asked about
  HotHits hot = {};                                   // where a card has slots for experts
};

// A phase of one kind of block.
struct PhaseTime {
  std::string phase;
  BlockKind kind = BlockKind::kDenseFfn;
  std::int64_t n_blocks = 0;  // such blocks
  double bytes = 0;           // of one, read from memory by all parts
  double seconds = 0;         // of one, with its barrier
  Bound bound = Bound::kNodeBandwidth;
  // Most bytes of a member and of a complex / mean of the slowest part; of a part / mean of all.
  double worst_member = 1, worst_complex = 1, worst_part = 1;
};

struct StepTime {
  TimeSplit split;                          // of all blocks
  std::vector<PhaseTime> phases;            // on the processors
  std::vector<quant::DType> unknown_types;  // whose arithmetic was not measured and counts as nothing
  double bytes = 0;                         // read from memory
  double card_bytes = 0;                    // read from the card's memory
  double seconds() const { return split.sum(); }
};

// `plan`: with all blocks on the processors; in one part, or in one for each memory node of the machine.
StepTime step_time(const Plan& plan, const MachineSpec& machine, const StepRequest& request);
// The same of the layer of multi-token prediction with its head, for plans that have it.
StepTime draft_time(const Plan& plan, const MachineSpec& machine, const StepRequest& request);
// Of a step, gate, up and down of the routed experts alone.
StepTime experts_time(const Plan& plan, const MachineSpec& machine, const StepRequest& request);

// Blocks of a plan that are alike, up to the head: the first one, and how many there are.
struct BlockKindCount {
  std::size_t first = 0;
  std::int64_t n = 0;
};
std::vector<BlockKindCount> kinds_of_blocks(const Plan& plan);
// Those of a draft: the first layer of multi-token prediction, and the model's head.
std::vector<BlockKindCount> kinds_of_draft_blocks(const Plan& plan);

}  // namespace dodeca::runtime::predict
