// How long a micro-batch of a prompt takes beside a card. Where experts stream to it, by the schedule that the program runs
// (runtime/device/stream_schedule.hpp) and a virtual clock.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "runtime/device/offload.hpp"
#include "runtime/device/stream_schedule.hpp"
#include "runtime/predict/prompt_time.hpp"
#include "runtime/predict/stream_clock.hpp"

namespace dodeca::runtime::predict {

// The speeds that a machine and a card would be measured to have. None where nothing can stream: the model has no routed
// experts.
std::optional<device::StreamSpeeds> stream_speeds(const Plan& plan, const MachineSpec& machine, const CardSpec& card,
                                                  int n_threads);

// A card, and what was placed there.
struct CardPart {
  const Plan& placed;
  const CardSpec& card;
  const device::Offload& offload;
};

struct CardPrompt {
  TimeSplit split;
  // Where experts stream; else empty.
  std::vector<device::StreamStep> steps;
  std::vector<StreamSpan> spans;
  std::array<double, device::kStreamActors> busy = {};  // seconds of each actor
  double streamed_experts = 0;                          // of a layer, on average
  double streamed_bytes = 0;
};
CardPrompt card_prompt(const Plan& plan, const CardPart& part, const MachineSpec& machine,
                       const PromptRequest& request);

}  // namespace dodeca::runtime::predict
