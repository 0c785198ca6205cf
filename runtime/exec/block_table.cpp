#include "runtime/exec/block_table.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "cpu/kernels/attention/attention.hpp"
#include "quant/check.hpp"
#include "runtime/base/error.hpp"

namespace dodeca::runtime::exec {
namespace {

constexpr std::int64_t kPositions = cpu::kContextBlock;

}  // namespace

std::int64_t BlockTable::blocks_for(std::int64_t n) { return (n + kPositions - 1) / kPositions; }

BlockTable::BlockTable(std::int64_t n_positions, std::int32_t n_sequences)
    : references_(static_cast<std::size_t>(blocks_for(n_positions)), 0),
      sequences_(static_cast<std::size_t>(n_sequences)) {
  for (std::int64_t block = n_blocks() - 1; block >= 0; --block) free_.push_back(static_cast<std::int32_t>(block));
}

std::int64_t BlockTable::capacity() const { return n_blocks() * kPositions; }
std::int64_t BlockTable::free_positions() const { return static_cast<std::int64_t>(free_.size()) * kPositions; }

std::int32_t BlockTable::block_of(std::int32_t sequence, std::int64_t position) const {
  DODECA_CHECK(position >= 0 && position < length(sequence), sequence, position, length(sequence));
  return at(sequence).blocks[position / kPositions];
}

std::int32_t BlockTable::take() {
  const std::int32_t block = free_.back();
  free_.pop_back();
  references_[block] = 1;
  return block;
}

void BlockTable::drop(std::int32_t block) {
  if (--references_[block] == 0) free_.push_back(block);
}

bool BlockTable::writes_shared(const Sequence& s) const {
  return s.length % kPositions != 0 && references_[s.blocks.back()] > 1;
}

std::int64_t BlockTable::blocks_wanted(const Sequence& s, std::int64_t n) const {
  if (n == 0) return 0;
  return blocks_for(s.length + n) - static_cast<std::int64_t>(s.blocks.size()) + (writes_shared(s) ? 1 : 0);
}

bool BlockTable::can_append(std::int32_t sequence, std::int64_t n) const {
  return blocks_wanted(at(sequence), n) <= static_cast<std::int64_t>(free_.size());
}

void BlockTable::append(std::int32_t sequence, std::int64_t n, const CopyRows& copy) {
  if (!can_append(sequence, n)) {
    throw Error(ErrorKind::kDoesNotFit,
                fmt::format("the context is full: {} more positions asked for, {} of {} are free", n, free_positions(),
                            capacity()));
  }
  if (n == 0) return;
  Sequence& s = at(sequence);
  if (writes_shared(s)) {
    const std::int32_t own = take();
    copy(s.blocks.back(), own, s.length % kPositions);
    drop(s.blocks.back());
    s.blocks.back() = own;
  }
  s.length += n;
  while (static_cast<std::int64_t>(s.blocks.size()) < blocks_for(s.length)) s.blocks.push_back(take());
}

void BlockTable::truncate(std::int32_t sequence, std::int64_t n) {
  Sequence& s = at(sequence);
  if (n >= s.length) return;
  s.length = n;
  while (static_cast<std::int64_t>(s.blocks.size()) > blocks_for(n)) {
    drop(s.blocks.back());
    s.blocks.pop_back();
  }
}

void BlockTable::fork(std::int32_t src, std::int32_t dst, std::int64_t n, const CopyRows& copy) {
  if (src == dst) return truncate(dst, n);
  truncate(dst, 0);
  const Sequence& from = at(src);
  Sequence& to = at(dst);
  n = std::min(n, from.length);
  const std::int64_t whole = n / kPositions, rest = n % kPositions;
  if (rest > 0 && free_.empty()) {
    throw Error(ErrorKind::kDoesNotFit,
                fmt::format("the context is full: no block is free to fork {} positions, {} in all", n, capacity()));
  }
  to.blocks.assign(from.blocks.begin(), from.blocks.begin() + whole);
  for (const std::int32_t block : to.blocks) ++references_[block];
  if (rest > 0) {
    to.blocks.push_back(take());
    copy(from.blocks[whole], to.blocks.back(), rest);
  }
  to.length = n;
}

}  // namespace dodeca::runtime::exec
