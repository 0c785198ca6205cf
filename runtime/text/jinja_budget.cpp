#include "runtime/text/jinja_budget.hpp"

#include <algorithm>
#include <ctime>

#include "runtime/base/error.hpp"

namespace dodeca::runtime::jinja {
namespace {

constexpr std::uint64_t kWorkBetweenLooks = 20'000'000;  // the clock is asked about fifty times a second

double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

Budget::Budget(const BudgetLimits& limits)
    : limits_(limits), next_look_(std::min(kWorkBetweenLooks, limits.work)), started_(processor_seconds()) {}

void Budget::look() {
  if (work_ >= limits_.work) fail(fmt::format("takes more than {} million units of work", limits_.work / 1'000'000));
  if (processor_seconds() - started_ > limits_.seconds) fail(fmt::format("takes more than {} s", limits_.seconds));
  next_look_ = std::min(work_ + kWorkBetweenLooks, limits_.work);
}

void Budget::hold(std::size_t bytes) {
  if (bytes > limits_.held_bytes - held_)
    fail(fmt::format("needs more than {} MiB of memory", limits_.held_bytes >> 20));
  held_ += bytes;
}

void Budget::fail(std::string_view what) const {
  Error error = Error(ErrorKind::kUnsupported, fmt::format("the chat template {}", what)).with(Remedy::kOtherTemplate);
  if (line_ > 0) error.with("line", line_);
  throw error;
}

}  // namespace dodeca::runtime::jinja
