// Seconds that have passed.
#pragma once

#include <chrono>
#include <cstdint>

namespace dodeca::runtime {

class Stopwatch {
 public:
  // Since it was made.
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
  std::uint64_t nanoseconds() const {
    const auto passed = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin_);
    return static_cast<std::uint64_t>(passed.count());
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin_ = Clock::now();
};

// Adds the seconds that it lives to a sum.
class TimedScope {
 public:
  explicit TimedScope(double& sum) : sum_(sum) {}
  ~TimedScope() { sum_ += watch_.seconds(); }
  TimedScope(const TimedScope&) = delete;
  TimedScope& operator=(const TimedScope&) = delete;

 private:
  double& sum_;
  Stopwatch watch_;
};

}  // namespace dodeca::runtime
