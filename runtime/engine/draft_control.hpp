// Whether drafts pay: measures steps with them and without, in turn, and keeps what gives more tokens per second, apart for
// different numbers of sequences. The text is the same either way; only how fast it comes depends on what is found here.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace dodeca::runtime::engine {

// A step of generation alone.
struct DraftStep {
  std::int64_t n_sequences = 1;
  bool verified = false, drafted = false;  // rows of drafts were in its pass; drafts for the next were made
  std::int64_t n_tokens = 0;
  double seconds = 0;
};

// Of steps that verify and draft, and of steps that do neither.
struct DraftSpeed {
  std::int64_t n_steps = 0, n_tokens = 0;
  double seconds = 0;
  double rate() const { return seconds > 0 ? static_cast<double>(n_tokens) / seconds : 0; }
};

class DraftControl {
 public:
  // n: drafts for a sequence; measures: may switch them off, otherwise they are always made.
  DraftControl(std::int64_t n, bool measures) : n_(n), measures_(measures) {}

  std::int64_t wanted(std::int64_t n_sequences) const { return loads_[load_of(n_sequences)].on ? n_ : 0; }
  // True: what is wanted for this many sequences has changed by what was measured, and verdict() says why.
  bool add(const DraftStep& step);
  struct Verdict {
    bool on = true;
    std::int64_t n_sequences = 1;
    double rate_on = 0, rate_off = 0;  // tokens per second
  };
  const Verdict& verdict() const { return verdict_; }
  const DraftSpeed& with() const { return with_; }
  const DraftSpeed& without() const { return without_; }

 private:
  // Steps of one kind that are compared with as many of the other.
  struct Window {
    std::vector<double> seconds;
    std::int64_t n_tokens = 0;
    void add(const DraftStep& step);
    double rate() const;  // with the median of the seconds: a step that something else delayed does not count
  };
  // Like numbers of sequences have like speeds.
  struct Load {
    bool on = true;    // what is done now
    bool best = true;  // what the last comparison found
    bool compared = false;
    std::int64_t n_stay = 0, n_left = 0;  // steps until the other is tried again
    Window on_window, off_window;
  };
  static std::size_t load_of(std::int64_t n_sequences);
  bool compare(Load& load, std::int64_t n_sequences);

  std::int64_t n_;
  bool measures_;
  std::array<Load, 5> loads_;
  Verdict verdict_;
  DraftSpeed with_, without_;
};

}  // namespace dodeca::runtime::engine
