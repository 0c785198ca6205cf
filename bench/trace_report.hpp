// The table of `--trace`: what each phase of the layers took in the timed passes of one test, how much of it one member worked alone in a barrier, the bytes of weights and
// cache that it read and the rate that this makes, and how far the phases' sum is from the time measured around the
// passes.
#pragma once

#include <string>
#include <string_view>

#include "runtime/exec/trace.hpp"

namespace dodeca::bench {

// test: "tg128"; seconds: wall time of all traced passes; read_bandwidth: bytes/s, 0 when not measured; int8_peak:
// multiply-accumulates per second to compare the experts' products with, 0 for none.
std::string trace_table(std::string_view test, const runtime::exec::Trace& trace, double seconds, double read_bandwidth,
                        double int8_peak);

}  // namespace dodeca::bench
