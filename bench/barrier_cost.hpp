// What a team's barrier costs: the time between phases in which nothing is computed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cpu/team.hpp"

namespace dodeca::bench {

struct BarrierCost {
  double min_ns = 0, median_ns = 0, p99_ns = 0;
  // One token of n_layers layers with n_phases phases each, in microseconds.
  double token_us(std::int64_t n_layers, std::int64_t n_phases) const {
    return median_ns * static_cast<double>(n_layers * n_phases) / 1e3;
  }
};

// Of single times in nanoseconds; the clock's own cost is taken off each, never below 0.
BarrierCost summarize(std::vector<double> times_ns, double clock_ns);

// About `seconds` of barriers one after another, each timed by member 0.
BarrierCost measure_barrier(cpu::Team& team, double seconds);

// Microseconds of entering and leaving run() after the caller has been busy elsewhere for a millisecond, as between two
// tokens: with members that slept, and with members that were told to stay awake. Medians of about `seconds`.
struct EntryCost {
  double asleep_us = 0, awake_us = 0;
};
EntryCost measure_entry(cpu::Team& team, double seconds);

// dodeca-bench barrier
int cmd_barrier(std::span<const std::string> args);

}  // namespace dodeca::bench
