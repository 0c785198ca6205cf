// What a part gives in an exchange, row after row, in pieces that fit a buffer.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "runtime/exec/exchange.hpp"

namespace dodeca::runtime::cluster {

class PackedPart {
 public:
  PackedPart() = default;
  PackedPart(std::span<const exec::Region> regions, std::int64_t part) : regions_(regions), part_(part) {
    for (const exec::Region& region : regions) {
      if (region.part == part) left_ += region.bytes * static_cast<std::size_t>(region.n_rows);
    }
  }

  std::size_t left() const { return left_; }  // bytes that are not packed or unpacked yet
  // The next bytes, at most `most` of them, into a buffer or out of one. Returns how many.
  std::size_t pack(std::byte* to, std::size_t most) {
    return each_piece(most, [&](std::byte* row, std::size_t n) { std::memcpy(to, row, n), to += n; });
  }
  std::size_t unpack(const std::byte* from, std::size_t most) {
    return each_piece(most, [&](std::byte* row, std::size_t n) { std::memcpy(row, from, n), from += n; });
  }

 private:
  // f(bytes of one row, how many)
  template <class F>
  std::size_t each_piece(std::size_t most, F&& f) {
    const std::size_t all = std::min(most, left_);
    for (std::size_t room = all; room > 0;) {
      const exec::Region& region = regions_[region_];
      if (region.part != part_ || row_ == region.n_rows) {
        ++region_;
        row_ = 0;
        continue;
      }
      const std::size_t n = std::min(room, region.bytes - at_);
      f(region.data + static_cast<std::size_t>(row_) * region.stride + at_, n);
      room -= n;
      at_ += n;
      if (at_ == region.bytes) ++row_, at_ = 0;
    }
    left_ -= all;
    return all;
  }

  std::span<const exec::Region> regions_;
  std::int64_t part_ = 0;
  std::size_t left_ = 0;
  // The next byte: of which region, row and place in the row.
  std::size_t region_ = 0;
  std::int64_t row_ = 0;
  std::size_t at_ = 0;
};

}  // namespace dodeca::runtime::cluster
