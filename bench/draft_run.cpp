#include "bench/draft_run.hpp"

#include <fmt/core.h>

#include "bench/statistics.hpp"

namespace dodeca::bench {

double DraftRun::gain() const { return with_ns.empty() ? 0 : median(plain_ns) / median(with_ns); }

double DraftRun::bound() const {
  if (n_steps == 0 || step_bytes <= 0) return 0;
  const double tokens = static_cast<double>(n_tokens) / static_cast<double>(n_steps * n_sequences);
  return tokens * plain_bytes / step_bytes;
}

std::string DraftRun::text(const std::string& label) const {
  return fmt::format(
      "{}: {:.1f} % of {} drafts taken, {:.1f} experts per layer, {:.2f} times the speed without; the bytes allow "
      "{:.2f}: "
      "{:.0f} % of that\n",
      label, 100 * accepted(), n_drafted, experts_touched, gain(), bound(), bound() > 0 ? 100 * gain() / bound() : 0);
}

}  // namespace dodeca::bench
