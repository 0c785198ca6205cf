// What the kernel tells about the memory of one node: what is free, and pools of huge pages. `root` is put before /sys
// (tests).
#pragma once

#include <cstdint>
#include <string>

namespace dodeca::cpu {

// Pages that the administrator set aside for hugetlbfs.
struct HugePool {
  std::uint64_t page_bytes = 0;
  std::uint64_t total = 0, free = 0;  // pages
  std::uint64_t free_bytes() const { return page_bytes * free; }
};

// node: OS index; -1: of all nodes. Without such a pool: no pages.
HugePool huge_pool(int node, std::uint64_t page_bytes, const std::string& root = "");

// Bytes of a node (OS index) that can still be allocated there: free ones, and file pages, which the kernel drops for
// them, less one in a hundred of all: below its watermarks (a few in a thousand) it kills rather than give a bound page.
// 2^64 - 1 when the system tells nothing.
std::uint64_t available_node_bytes(int node, const std::string& root = "");

}  // namespace dodeca::cpu
