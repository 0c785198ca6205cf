// How fast a team reads memory: the denominator of every speed that is reported.
#pragma once

#include "cpu/isa.hpp"
#include "cpu/memory.hpp"
#include "cpu/team.hpp"

namespace dodeca::cpu {

// Bytes per second of the best of several passes, about `seconds` of them (at least three), in which every member reads
// its own part of the buffer once. Fills the buffer first, each part by its reader: memory that was never written is
// one shared page. The buffer should be several times as large as the caches. 0 for less than 4096 bytes per member.
double read_bandwidth(Team& team, const Buffer& buffer, double seconds, Isa isa = host_isa());

}  // namespace dodeca::cpu
