#include "bench/trace_report.hpp"

#include <doctest/doctest.h>

using namespace dodeca;
using dodeca::runtime::exec::Trace;

TEST_CASE("the trace's table: per pass, shares, the sum against the clock, the overhead") {
  Trace trace;
  trace.passes = 2;
  trace.phases = {{.name = "gate, up",
                   .ns = 6'000'000,
                   .bytes = 60'000'000,
                   .count = 4,
                   .alone_ns = 30'000,
                   .expert_macs = 300'000'000},
                  {.name = "head", .ns = 2'000'000, .bytes = 10'000'000, .count = 2},
                  {.name = "down", .ns = 2'000'000, .count = 2, .alone_ns = 10'000, .expert_macs = 100'000'000}};
  trace.experts_touched = 12;
  trace.expert_phases = 4;
  const std::string text = bench::trace_table("tg2", trace, 0.01008, 10e9, 100e9);
  CHECK(text.find("tg2: phases of a pass, mean of 2") != std::string::npos);
  CHECK(text.find("| gate, up        |     3.000 |    60.0 |      30.00 |  10.00 |     15.0 |") != std::string::npos);
  CHECK(text.find("| sum             |     5.000 |   100.0 |      35.00 |   7.00 |     20.0 |") != std::string::npos);
  CHECK(text.find("attention") == std::string::npos);  // did not run
  CHECK(text.find("5.040 ms per pass by the clock around it; the phases sum to 99.2 % of it") != std::string::npos);
  CHECK(text.find("3.0 distinct experts per layer") != std::string::npos);
  CHECK(text.find("overhead: 1.540 ms (30.6 %) beyond the 3.500 ms") != std::string::npos);
  CHECK(text.find("gate, up and down: 50.0 GMAC/s, 50.0 % of the int8 peak") != std::string::npos);
  CHECK(bench::trace_table("tg2", trace, 0.01008, 10e9, 0).find("int8") == std::string::npos);  // not measured
  CHECK(bench::trace_table("tg2", Trace{}, 1.0, 0, 0).empty());
}
