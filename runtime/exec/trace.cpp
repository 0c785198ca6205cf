#include "runtime/exec/trace.hpp"

#include <algorithm>

namespace dodeca::runtime::exec {

void Trace::end(std::string_view phase, const Work& work, std::uint64_t alone_ns) {
  const Clock::time_point now = Clock::now();
  auto entry = std::ranges::find(phases, phase, &Entry::name);
  if (entry == phases.end()) entry = phases.insert(entry, Entry{.name = phase});
  entry->ns += static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now - last).count());
  entry->bytes += work.bytes;
  entry->alone_ns += alone_ns;
  entry->expert_macs += work.expert_macs;
  ++entry->count;
  if (work.experts > 0) {
    experts_touched += work.experts;
    ++expert_phases;
  }
  last = now;
}

}  // namespace dodeca::runtime::exec
