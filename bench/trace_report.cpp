#include "bench/trace_report.hpp"

#include <fmt/core.h>

namespace dodeca::bench {

using runtime::exec::Trace;

std::string trace_table(std::string_view test, const Trace& trace, double seconds, double read_bandwidth,
                        double int8_peak) {
  const double passes = static_cast<double>(trace.passes);
  if (trace.passes == 0) return {};
  double sum_ns = 0, bytes = 0, alone_ns = 0;
  for (const Trace::Entry& entry : trace.phases) {
    sum_ns += static_cast<double>(entry.ns);
    bytes += static_cast<double>(entry.bytes);
    alone_ns += static_cast<double>(entry.alone_ns);
  }
  std::string out = fmt::format("\n{}: phases of a pass, mean of {}\n\n", test, trace.passes);
  out += "| phase           |   ms/pass | share % |    MB/pass |   GB/s | alone us |\n";
  out += "| --------------- | --------: | ------: | ---------: | -----: | -------: |\n";
  const auto line = [&](std::string_view name, double ns, double n_bytes, double alone) {
    out += fmt::format("| {:<15} | {:>9.3f} | {:>7.1f} | {:>10.2f} | {:>6.2f} | {:>8.1f} |\n", name, ns / 1e6 / passes,
                       sum_ns > 0 ? 100 * ns / sum_ns : 0.0, n_bytes / 1e6 / passes, ns > 0 ? n_bytes / ns : 0.0,
                       alone / 1e3 / passes);
  };
  for (const Trace::Entry& entry : trace.phases)
    line(entry.name, static_cast<double>(entry.ns), static_cast<double>(entry.bytes),
         static_cast<double>(entry.alone_ns));
  line("sum", sum_ns, bytes, alone_ns);
  const double per_pass = seconds / passes;
  out += fmt::format("\n{:.3f} ms per pass by the clock around it; the phases sum to {:.1f} % of it\n", 1e3 * per_pass,
                     seconds > 0 ? 100 * sum_ns / 1e9 / seconds : 0.0);
  if (trace.expert_phases > 0)
    out += fmt::format("{:.1f} distinct experts per layer\n",
                       static_cast<double>(trace.experts_touched) / static_cast<double>(trace.expert_phases));
  double expert_macs = 0, expert_ns = 0;
  for (const Trace::Entry& entry : trace.phases) {
    if (entry.expert_macs == 0) continue;
    expert_macs += static_cast<double>(entry.expert_macs);
    expert_ns += static_cast<double>(entry.ns);
  }
  if (int8_peak > 0 && expert_macs > 0) {
    const double rate = 1e9 * expert_macs / expert_ns;
    out += fmt::format("gate, up and down: {:.1f} GMAC/s, {:.1f} % of the int8 peak\n", rate / 1e9,
                       100 * rate / int8_peak);
  }
  if (read_bandwidth > 0) {
    const double at_limit = bytes / passes / read_bandwidth;
    out += fmt::format("overhead: {:.3f} ms ({:.1f} %) beyond the {:.3f} ms that the bytes take at {:.2f} GB/s\n",
                       1e3 * (per_pass - at_limit), 100 * (per_pass - at_limit) / per_pass, 1e3 * at_limit,
                       read_bandwidth / 1e9);
  }
  return out;
}

}  // namespace dodeca::bench
