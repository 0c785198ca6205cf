// Which cache blocks hold which positions of which sequence: counts and indices alone, no bytes. A block holds
// cpu::kContextBlock positions of every layer; sequences share blocks by reference count, and who writes into a shared
// one (cut inside it, then appended to) gets a copy of its own first: copy-on-write.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace dodeca::runtime::exec {

class BlockTable {
 public:
  // Copies the first `n_rows` rows of block `from` to block `to`, in every layer.
  using CopyRows = std::function<void(std::int32_t from, std::int32_t to, std::int64_t n_rows)>;

  BlockTable(std::int64_t n_positions, std::int32_t n_sequences);
  static std::int64_t blocks_for(std::int64_t n_positions);

  std::int64_t n_blocks() const { return static_cast<std::int64_t>(references_.size()); }
  std::int64_t capacity() const;        // positions in all blocks
  std::int64_t free_positions() const;  // in whole free blocks
  std::int32_t n_sequences() const { return static_cast<std::int32_t>(sequences_.size()); }
  std::int64_t length(std::int32_t sequence) const { return at(sequence).length; }
  std::int32_t block_of(std::int32_t sequence, std::int64_t position) const;  // position < length(sequence)

  // Whether n more positions fit for the sequence, the copy of a shared last block included.
  bool can_append(std::int32_t sequence, std::int64_t n) const;
  // Counts n more positions. Throws Error{kDoesNotFit} with the numbers, nothing changed.
  void append(std::int32_t sequence, std::int64_t n, const CopyRows& copy);
  void truncate(std::int32_t sequence, std::int64_t n);  // keeps the first n positions
  // dst (emptied first) becomes the first n positions of src: whole blocks are shared, a partial last one is copied now,
  // so that both may grow by what is free then. Throws Error{kDoesNotFit} when no block is free for that, dst empty.
  void fork(std::int32_t src, std::int32_t dst, std::int64_t n, const CopyRows& copy);

 private:
  struct Sequence {
    std::vector<std::int32_t> blocks;
    std::int64_t length = 0;
  };
  Sequence& at(std::int32_t sequence) { return sequences_[sequence]; }
  const Sequence& at(std::int32_t sequence) const { return sequences_[sequence]; }
  std::int32_t take();
  void drop(std::int32_t block);
  // Whether the next position of the sequence lies in a block that others hold too.
  bool writes_shared(const Sequence& sequence) const;
  std::int64_t blocks_wanted(const Sequence& sequence, std::int64_t n) const;

  std::vector<std::int32_t> references_, free_;
  std::vector<Sequence> sequences_;
};

}  // namespace dodeca::runtime::exec
