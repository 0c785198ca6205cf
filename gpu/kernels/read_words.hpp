// read_words: adds all 32-bit words of a stretch of memory, modulo 2^32. Each byte is read once, 16 at a time, four loads
// of a thread in flight: what a card's memory gives at most. dodeca-bench gpu measures other kernels against it.
//
// 4 bytes and one addition per word.
#pragma once

#include <algorithm>
#include <cstdint>

#include "gpu/kernels/grid.hpp"

namespace dodeca::gpu {

struct ReadWordsArgs {
  const std::uint32_t* in;  // [n], 16 bytes aligned
  std::uint32_t* sum;       // the sum is added to it
  std::int64_t n;           // a multiple of 4
};

inline constexpr std::uint32_t kReadWordsThreads = 256;
inline constexpr std::int64_t kReadWordsEach = 16;  // words that a thread has in flight

inline Grid read_words_grid(const ReadWordsArgs& args, std::int32_t multiprocessors) {
  const std::int64_t of_block = kReadWordsThreads * kReadWordsEach, wanted = (args.n + of_block - 1) / of_block;
  return {.blocks_x = static_cast<std::uint32_t>(std::clamp<std::int64_t>(wanted, 1, 8 * multiprocessors)),
          .threads = kReadWordsThreads};
}
inline std::uint64_t read_words_bytes(const ReadWordsArgs& args) { return 4 * static_cast<std::uint64_t>(args.n); }
inline std::uint64_t read_words_operations(const ReadWordsArgs& args) { return static_cast<std::uint64_t>(args.n); }

}  // namespace dodeca::gpu
