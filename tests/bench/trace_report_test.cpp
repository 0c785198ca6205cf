#include "bench/trace_report.hpp"

#include <doctest/doctest.h>

using namespace dodeca;

TEST_CASE("the trace's table: per pass, shares, the sum against the clock, the residual") {
  runtime::Trace trace;
  trace.passes = 2;
  trace.phases[static_cast<std::size_t>(runtime::Phase::kGateUp)] = {6'000'000, 60'000'000, 4};
  trace.phases[static_cast<std::size_t>(runtime::Phase::kHead)] = {2'000'000, 10'000'000, 2};
  trace.experts_touched = 12;
  trace.expert_phases = 4;
  const std::string text = bench::trace_table("tg2", trace, 0.00808, 10e9);
  CHECK(text.find("tg2: phases of a pass, mean of 2") != std::string::npos);
  CHECK(text.find("| gate, up        |     3.000 |    75.0 |      30.00 |  10.00 |") != std::string::npos);
  CHECK(text.find("| sum             |     4.000 |   100.0 |      35.00 |   8.75 |") != std::string::npos);
  CHECK(text.find("attention") == std::string::npos);  // did not run
  CHECK(text.find("4.040 ms per pass by the clock around it; the phases sum to 99.0 % of it") != std::string::npos);
  CHECK(text.find("3.0 distinct experts per layer") != std::string::npos);
  CHECK(text.find("residual: 0.540 ms (13.4 %) beyond the 3.500 ms") != std::string::npos);
  CHECK(bench::trace_table("tg2", runtime::Trace{}, 1.0, 0).empty());
}
