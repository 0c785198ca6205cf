// Cutting weights into P parts (memory nodes, later machines): pure arithmetic that knows neither NUMA nor MPI.
//
// Attention is cut by heads, with the matching columns of its output projection; a feed-forward block along its
// intermediate dimension (gate and up by rows, down by columns); head, router and small projections by rows. Units keep
// whole tiles and whole blocks of every type involved. Where a routed block has fewer units than there are parts, whole
// experts are dealt instead. What is cut by columns gives partial sums, added in the order of the parts.
#pragma once

#include <cstdint>
#include <vector>

#include "quant/dtype.hpp"

namespace dodeca::runtime {

struct Span {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const Span&) const = default;
};

// How much each part takes; at least one, each above 0.
using Shares = std::vector<double>;
Shares equal_shares(int n_parts);

// [0, count) in whole units, one span per part, by shares; parts may be empty. Equal shares: the first parts take the
// remainder.
std::vector<Span> cut(std::int64_t count, std::int64_t unit, const Shares& shares);

// The part of each of `count` things dealt one by one: to whoever is furthest behind its share.
std::vector<int> deal(std::int64_t count, const Shares& shares);

struct FfnCut {
  std::vector<Span> columns;     // per part, of the intermediate dimension; all of it where experts are dealt
  std::vector<int> expert_part;  // per expert, where they are dealt; empty: every part has its columns of all
};
// unit: a common multiple of the row tile (16) and of the down projection's block.
FfnCut cut_ffn(std::int64_t width, std::int64_t unit, std::int64_t n_experts, const Shares& shares);

}  // namespace dodeca::runtime
