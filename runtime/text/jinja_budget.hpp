// What one rendering of a chat template may cost. Every operation of the interpreter gets the budget and charges what it
// touches: strings, lists and mappings can only be made through it (jinja_value.hpp), filters, tests, methods and
// operators are charged for their inputs before they run, and what compares, prints or sorts charges as it goes. A file
// from the network can therefore neither keep the processor busy nor fill the memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace dodeca::runtime::jinja {

// Units of work; one is about a nanosecond.
inline constexpr std::uint64_t kWorkPerNode = 50;  // of the syntax tree
inline constexpr std::uint64_t kWorkPerItem = 10;  // of a list or mapping; beside one unit for each byte

struct BudgetLimits {
  std::uint64_t work = 3'000'000'000;
  std::size_t held_bytes = std::size_t{256} << 20;
  double seconds = 5;  // of processor time, for slow machines
};

class Budget {
 public:
  explicit Budget(const BudgetLimits& limits = BudgetLimits());
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  void work(std::uint64_t units) {
    work_ += units;
    if (work_ >= next_look_) look();
  }
  void hold(std::size_t bytes);
  void release(std::size_t bytes) noexcept { held_ -= bytes; }

  // The template's line that runs, for messages; 0: none.
  void set_line(int line) { line_ = line; }
  int line() const { return line_; }
  // Error{kUnsupported} "the chat template <what>", with the line.
  [[noreturn]] void fail(std::string_view what) const;

 private:
  void look();

  BudgetLimits limits_;
  std::uint64_t work_ = 0, next_look_;
  std::size_t held_ = 0;
  double started_;
  int line_ = 0;
};

// Bytes that something holds as long as it lives.
class Held {
 public:
  Held(Budget& budget, std::size_t bytes) : budget_(&budget), bytes_(bytes) { budget.hold(bytes); }
  Held(Held&& other) noexcept : budget_(other.budget_), bytes_(std::exchange(other.bytes_, 0)) {}
  Held& operator=(Held&& other) noexcept {  // of one budget
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Held() { budget_->release(bytes_); }
  void grow(std::size_t bytes) {
    budget_->hold(bytes);
    bytes_ += bytes;
  }
  void clear() {
    budget_->release(bytes_);
    bytes_ = 0;
  }
  Budget& budget() const { return *budget_; }

 private:
  Budget* budget_;
  std::size_t bytes_;
};

}  // namespace dodeca::runtime::jinja
