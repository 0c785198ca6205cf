// Where each part of a model is in a process of its own: what one process has computed and all go on with. The forward
// pass says what that is (Phase::joint); an implementation carries it. Nothing here knows what lies between the processes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/exec/activations.hpp"

namespace dodeca::runtime::exec {

// What a part gives to all others: n_rows pieces of `bytes`, `stride` bytes apart.
struct Region {
  std::int64_t part = 0;
  std::byte* data = nullptr;
  std::size_t bytes = 0, stride = 0;
  std::int64_t n_rows = 1;
};

class Exchange {
 public:
  virtual ~Exchange() = default;
  // By one thread of every process at once, all with the same list but for the addresses: regions of the part here are
  // sent to all, those of other parts are received. False, and at once, when something is wrong, now or before: then
  // check() says what.
  virtual bool share(std::span<const Region> regions) noexcept = 0;
  // When the team is at rest: throws what went wrong in share().
  virtual void check() = 0;
};

// Columns [begin, end) of n rows of a buffer, from row `first` on.
struct RegionOfRows {
  std::int64_t part = 0, first = 0, n = 0, begin = 0, end = 0;
};
inline void add_region(std::vector<Region>& regions, Activations& rows, const RegionOfRows& r) {
  if (r.begin >= r.end || r.n == 0) return;
  regions.push_back({.part = r.part,
                     .data = reinterpret_cast<std::byte*>(rows.row(r.first) + r.begin),
                     .bytes = static_cast<std::size_t>(r.end - r.begin) * sizeof(float),
                     .stride = static_cast<std::size_t>(rows.stride_floats()) * sizeof(float),
                     .n_rows = r.n});
}

}  // namespace dodeca::runtime::exec
