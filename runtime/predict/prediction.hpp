// What a model will do on a machine: tokens per second of generating and of prompts at several depths, what binds them,
// and whether it fits. Computed from a plan and from figures; where nothing was measured, nothing is certain.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/device/offload.hpp"
#include "runtime/predict/energy.hpp"
#include "runtime/predict/machine_spec.hpp"
#include "runtime/predict/token_time.hpp"

namespace dodeca::runtime::predict {

struct PredictionRequest {
  int n_threads = 0;  // of generation; 0: all cores
  int n_prompt_threads = 0;
  std::int64_t n_parallel = 1;
  std::int64_t micro_batch = 2048;
  std::int64_t context = 0;  // positions per sequence: deeper than that nothing is asked
  quant::DType cache_type = quant::DType::kF16;
  std::optional<quant::DType> value_cache_type = {};  // of grouped queries; nothing: as the keys
  HotHits hot = {};
  std::int64_t n_drafts = 0;  // of one step, for plans with the layer that drafts, without a card
  double accepted = 0.85;  // of the drafts whose predecessors were right; DeepSeek-V3 report, section 5.4.3: 85 to 90 %
  std::vector<std::int64_t> depths = {0, 4096, 16384, 32768};
};

// A step that verifies drafts and makes new ones.
struct DraftedStep {
  double verify_seconds = 0, draft_seconds = 0;
  double tokens = 1;        // of one sequence, from one step
  double tokens_per_s = 0;  // of all sequences together
};

struct DepthPoint {
  std::int64_t depth = 0;
  StepTime step;            // of one step of all sequences
  TimeSplit prompt;         // of a micro-batch behind `depth`
  double tokens_per_s = 0;  // generated, of all sequences together
  double prompt_per_s = 0;
  std::optional<DraftedStep> drafted;
};

// Prompts at depth 0 in passes of so many rows.
struct PassPoint {
  std::int64_t n_rows = 0;
  double prompt_per_s = 0;
  Bound bound = Bound::kArithmetic;
};

// The same at the first depth, otherwise.
struct Otherwise {
  double tokens_per_s = 0, prompt_per_s = 0;
};

struct Prediction {
  MachineSpec machine;
  std::optional<CardSpec> card;
  std::optional<device::Offload> offload;  // where there is a card
  int n_threads = 1, n_prompt_threads = 1;
  int n_parts = 1;  // one for each memory node, or one
  std::int64_t n_parallel = 1, micro_batch = 0;
  std::int64_t n_drafts = 0;
  double accepted = 0;
  std::vector<DepthPoint> points;  // at least one
  std::vector<PassPoint> passes;   // ascending; none where a card says how many rows there are
  std::optional<PowerEstimate> power;
  // Of several sockets or parts: in one part, with memory that is interleaved over all nodes; and one socket alone.
  std::optional<Otherwise> interleaved, one_socket;
  std::vector<std::string> notes;  // what a reader must know of these figures, a sentence each

  double read_bandwidth() const;  // bytes per second of all members together
};

// `plan`: for the machine's instruction set, all blocks on the processors, in one part or in one for each memory node.
// `placed` and `offload` with a card, which wants one part.
struct CardPlan {
  const CardSpec& card;
  const Plan& placed;
  const device::Offload& offload;
};
Prediction predict(const Plan& plan, const MachineSpec& machine, const std::optional<CardPlan>& card,
                   const PredictionRequest& request);

}  // namespace dodeca::runtime::predict
