// The merge loop that both tokenizer kinds share: of all adjacent pairs that may merge, the one of lowest key, leftmost
// among equals, until none is left. A linked list and a heap: n log n.
#pragma once

#include <cstdint>
#include <optional>
#include <queue>
#include <vector>

namespace dodeca::runtime {

struct MergeSymbol {
  std::int32_t id;           // the caller's
  std::uint32_t begin, end;  // bytes of the text
  std::int32_t prev, next;   // -1: none
};

struct MergeCandidate {
  std::int64_t key;  // lower merges first
  std::int32_t id;   // of the merged symbol
};

// Appends a symbol for text [begin, end) to the chain.
inline void push_symbol(std::vector<MergeSymbol>& symbols, std::int32_t id, std::size_t begin, std::size_t end) {
  const auto index = static_cast<std::int32_t>(symbols.size());
  if (index > 0) symbols.back().next = index;
  symbols.push_back({id, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end), index - 1, -1});
}

// find(left, right) -> optional<MergeCandidate>. What is left is the chain from symbols[0] along `next`.
template <class Find>
void merge_symbols(std::vector<MergeSymbol>& symbols, const Find& find) {
  struct Entry {
    std::int64_t key;
    std::int32_t left, right, left_id, right_id, merged_id;
    bool operator<(const Entry& other) const { return key != other.key ? key > other.key : left > other.left; }
  };
  std::vector<Entry> initial;
  initial.reserve(symbols.size());
  const auto entry_of = [&](std::int32_t left, std::int32_t right) -> std::optional<Entry> {
    if (left < 0 || right < 0) return std::nullopt;
    const std::optional<MergeCandidate> found = find(symbols[left], symbols[right]);
    if (!found) return std::nullopt;
    return Entry{found->key, left, right, symbols[left].id, symbols[right].id, found->id};
  };
  for (std::int32_t i = 0; i + 1 < static_cast<std::int32_t>(symbols.size()); ++i) {
    if (const auto entry = entry_of(i, i + 1)) initial.push_back(*entry);
  }
  std::priority_queue<Entry> queue(std::less<Entry>(), std::move(initial));
  while (!queue.empty()) {
    const Entry entry = queue.top();
    queue.pop();
    MergeSymbol& left = symbols[entry.left];
    MergeSymbol& right = symbols[entry.right];
    // An entry is stale when either side has merged since: a consumed symbol is nobody's neighbour, a grown one has
    // another id.
    if (left.next != entry.right || right.prev != entry.left || left.id != entry.left_id || right.id != entry.right_id)
      continue;
    left.id = entry.merged_id;
    left.end = right.end;
    left.next = right.next;
    if (right.next >= 0) symbols[right.next].prev = entry.left;
    right.prev = right.next = -1;
    if (const auto grown = entry_of(left.prev, entry.left)) queue.push(*grown);
    if (const auto grown = entry_of(entry.left, left.next)) queue.push(*grown);
  }
}

}  // namespace dodeca::runtime
