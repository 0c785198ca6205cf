// What a pass of generation costs a card and the processors, each measured alone, and what both together could reach at
// best: for every layer the card's attention and router, then the slower of its shared expert and the processors' experts,
// then the meeting of both.
#pragma once

#include <algorithm>

#include "runtime/plan/plan.hpp"

namespace dodeca::bench {

struct HybridParts {
  double device_ns = 0;     // of a pass: all that runs on the card, and all meetings
  double experts_ns = 0;    // the experts in memory, and what else the processors run
  double beside_share = 0;  // of the card's bytes: what it reads while the experts run

  // By bytes: no kernel of the card is timed alone.
  double beside_ns() const { return std::min(beside_share * device_ns, experts_ns); }
  double limit_ns() const { return device_ns + experts_ns - beside_ns(); }
};

// Whether some experts of blocks on the card are in memory.
bool is_hybrid(const runtime::Plan& plan);
double beside_share(const runtime::Plan& plan);

}  // namespace dodeca::bench
