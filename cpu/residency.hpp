// Where pages of memory really are, which is not always where they were asked to be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace dodeca::cpu {

struct Residency {
  std::uint64_t pages = 0;               // of 4 KiB, that were asked about
  std::uint64_t present = 0;             // of them in memory: neither untouched nor swapped out
  std::map<int, std::uint64_t> on_node;  // of those, by OS index of the node
  // Bytes of the memory, not of the samples, in transparent pages or pages of a pool; an upper bound where the kernel
  // keeps neighbours under the same entry (/proc/self/smaps).
  std::uint64_t huge_bytes = 0;
  // Why the system does not tell where pages are (containers may forbid move_pages): one sentence without a full stop.
  // Then all counts but huge_bytes are 0.
  std::string unknown;

  // Of the pages that were asked about; what is untouched or swapped out is nowhere.
  double share_on(const std::vector<int>& nodes) const;
};

// Asks about every page that `memory` touches, or about at most `most_samples` > 0 of them, one in each of as many equal
// stretches: the same ones each time. `root` is put before /proc (tests).
Residency residency_of(std::span<const std::byte> memory, std::size_t most_samples = 0, const std::string& root = "");

}  // namespace dodeca::cpu
