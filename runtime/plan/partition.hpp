// Cutting weights into P parts (memory nodes, later machines): pure arithmetic that knows neither NUMA nor MPI.
//
// A feed-forward block is cut along its intermediate dimension: gate and up by rows, down by columns, in units that
// keep whole blocks of every type involved; each part then adds its own partial output. Where there are fewer units
// than parts, whole experts are dealt round instead: expert e belongs to part e mod P.
#pragma once

#include <cstdint>
#include <vector>

#include "quant/dtype.hpp"

namespace dodeca::runtime {

struct Span {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

// Part `index` of `n_parts` of [0, count), in whole units; the first parts take the remainder.
Span cut(std::int64_t count, std::int64_t unit, int index, int n_parts);

struct FfnCut {
  bool deal_experts = false;
  std::vector<Span> columns;  // [n_parts] of the intermediate dimension; all of it when experts are dealt
};
// unit: a common multiple of the row tile (16) and of the down projection's block.
FfnCut cut_ffn(std::int64_t width, std::int64_t unit, int n_parts);

}  // namespace dodeca::runtime
