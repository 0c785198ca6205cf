#include "runtime/engine/draft_trail.hpp"

#include "quant/check.hpp"

namespace dodeca::runtime::engine {

void DraftTrail::add(std::span<const float> hidden) { hidden_.insert(hidden_.end(), hidden.begin(), hidden.end()); }

std::span<const float> DraftTrail::due(std::int64_t n) const {
  DODECA_CHECK(filled_ >= begin_ && n >= filled_ && n <= end(), filled_, begin_, n, end());
  return std::span(hidden_).subspan(static_cast<std::size_t>((filled_ - begin_) * width_),
                                    static_cast<std::size_t>((n - filled_) * width_));
}

void DraftTrail::fill(std::int64_t n) {
  filled_ = n;
  const std::int64_t keep = std::max(begin_, std::min(n, end() - 1));
  hidden_.erase(hidden_.begin(), hidden_.begin() + (keep - begin_) * width_);
  begin_ = keep;
}

DraftTrail DraftTrail::prefix(std::int64_t n, bool same_next, std::int64_t block) const {
  DraftTrail trail(width_);
  trail.filled_ = trail.begin_ = std::max(std::min(filled_, same_next ? n : n - 1), n - n % block);
  trail.hidden_.resize(static_cast<std::size_t>((n - trail.begin_) * width_));
  for (std::int64_t p = std::max(trail.begin_, begin_); p < std::min(n, end()); ++p)
    std::copy_n(hidden_.begin() + (p - begin_) * width_, width_, trail.hidden_.begin() + (p - trail.begin_) * width_);
  return trail;
}

DraftTrail DraftTrail::restored(std::int64_t n, std::int64_t hidden_size) {
  DraftTrail trail(hidden_size);
  trail.filled_ = trail.begin_ = n;
  return trail;
}

}  // namespace dodeca::runtime::engine
