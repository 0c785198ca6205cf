// Memory that the caller of a kernel loads next, fetched into L2 a few lines at a time while the kernel computes.
// Unnamed: every variant has its own compiler flags.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dodeca::cpu {
namespace {

class FetchAhead {
 public:
  // n_pieces of `bytes` each, within about `steps` calls of step().
  FetchAhead(const std::byte* const* pieces, std::int64_t n_pieces, std::size_t bytes, std::int64_t steps)
      : pieces_(pieces), n_pieces_(n_pieces), bytes_(bytes) {
    const auto lines = static_cast<std::int64_t>(bytes / 64 + 1) * n_pieces;
    if (steps > 0) lines_of_step_ = (lines + steps - 1) / steps;
  }
  void step() {
    for (std::int64_t i = 0; i < lines_of_step_ && piece_ < n_pieces_; ++i) {
      __builtin_prefetch(pieces_[piece_] + offset_, 0, 2);
      offset_ += 64;
      if (offset_ < bytes_) continue;
      offset_ = 0;
      ++piece_;
    }
  }

 private:
  const std::byte* const* pieces_;
  std::int64_t n_pieces_, lines_of_step_ = 0, piece_ = 0;
  std::size_t bytes_, offset_ = 0;
};

}  // namespace
}  // namespace dodeca::cpu
