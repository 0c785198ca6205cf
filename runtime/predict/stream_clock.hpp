// The steps of a pass whose experts stream (runtime/device/stream_schedule.hpp) with a virtual clock: each actor does its
// steps one after the other, each step when those that it waits for have ended.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "runtime/device/stream_schedule.hpp"

namespace dodeca::runtime::predict {

struct StreamSpan {
  double begin = 0, end = 0;  // seconds from the beginning of the pass
};

// Of each step, in the order of the steps, which is one in which they could be begun.
std::vector<StreamSpan> run_clock(std::span<const device::StreamStep> steps,
                                  const std::function<double(const device::StreamStep&)>& seconds);

}  // namespace dodeca::runtime::predict
