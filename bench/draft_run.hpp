// Generation with drafts whose acceptance is given (--mtp-accept): what was measured, and what the bytes would allow.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dodeca::bench {

struct DraftRun {
  std::int64_t n_steps = 0, n_drafted = 0, n_accepted = 0, n_tokens = 0;  // of all sequences and repetitions
  double experts_touched = 0;  // distinct ones per layer of a pass with drafts
  double plain_bytes = 0;      // read by a step without drafts
  double step_bytes = 0;       // read by a step that verifies, and drafts anew
  std::int64_t n_sequences = 1;
  std::vector<double> plain_ns, with_ns;  // of the same number of tokens, in turn

  double accepted() const {
    return n_drafted > 0 ? static_cast<double>(n_accepted) / static_cast<double>(n_drafted) : 0;
  }
  double gain() const;   // tokens per second with drafts over those without, medians
  double bound() const;  // what the gain would be if a byte took as long in both
  std::string text(const std::string& label) const;
};

}  // namespace dodeca::bench
