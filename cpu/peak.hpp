// What a team's cores do at best: multiply-accumulates per second, and clock cycles. The other denominators, beside
// read_bandwidth(), of the speeds that are reported.
#pragma once

#include "cpu/isa.hpp"
#include "cpu/kernels/peak/peak.hpp"
#include "cpu/team.hpp"

namespace dodeca::cpu {

// Multiply-accumulates per second of all members together, each at its best of several samples while all run; 0 when no
// variant of the kind runs at `isa`.
double peak_macs(Team& team, PeakKind kind, double seconds, Isa isa = host_isa());

// Clock of the slowest member in Hz while all run, from a chain of dependent additions.
double clock_hz(Team& team, double seconds);

}  // namespace dodeca::cpu
