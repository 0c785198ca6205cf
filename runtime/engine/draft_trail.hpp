// How far the draft layer's cache has come behind a sequence, and the hidden states that it still needs. The row of
// position p is made from the hidden state of p and token p + 1; it is due once both are there.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace dodeca::runtime::engine {

class DraftTrail {
 public:
  explicit DraftTrail(std::int64_t hidden_size = 0) : width_(hidden_size) {}

  std::int64_t filled() const { return filled_; }  // rows [0, filled) of the draft layer are there
  std::int64_t end() const { return begin_ + std::ssize(hidden_) / std::max<std::int64_t>(width_, 1); }
  bool has(std::int64_t position) const { return position >= begin_ && position < end(); }  // its hidden state
  // Hidden states of the positions behind end().
  void add(std::span<const float> hidden);
  // Those of positions [filled, n), n <= end().
  std::span<const float> due(std::int64_t n) const;
  // Rows up to n are there now. The last hidden state is kept: another text may go on from it.
  void fill(std::int64_t n);

  // Of a sequence that takes over the first n positions in blocks of `block`, of which whole ones are shared. Row n - 1
  // belongs to the token behind it: same_next says whether that is the same here. Where it is not, the row is due again,
  // but in a shared block, where it stays as it is. A hidden state that nobody kept is zero, as in front of a text.
  DraftTrail prefix(std::int64_t n, bool same_next, std::int64_t block) const;
  // Of n positions that came from elsewhere with their rows, and without a hidden state.
  static DraftTrail restored(std::int64_t n, std::int64_t hidden_size);

 private:
  std::int64_t width_;
  std::int64_t filled_ = 0, begin_ = 0;  // begin: of the hidden states
  std::vector<float> hidden_;
};

}  // namespace dodeca::runtime::engine
