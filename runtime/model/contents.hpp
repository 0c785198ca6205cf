// One number for the contents of weights: of every byte as read_rows() gives it, whatever the pieces, the threads and the
// file's form. The loader sums while it reads; here is the same for who keeps nothing.
#pragma once

#include <cstdint>
#include <span>

#include "cpu/team.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/base/log.hpp"
#include "runtime/model/weight_source.hpp"

namespace dodeca::runtime {

// Rows from row_begin on of a slice, whole.
void add_rows(PlacedSum& sum, const WeightInfo& weight, std::int64_t slice, std::int64_t row_begin,
              std::span<const std::byte> rows);
// Bytes [byte_begin, byte_begin + part.size()) of one row.
void add_row_part(PlacedSum& sum, const WeightInfo& weight, std::int64_t slice, std::int64_t row,
                  std::size_t byte_begin, std::span<const std::byte> part);

// Reads the weight. `progress` counts its bytes; false stops: Stopped.
PlacedSum sum_of(const WeightSource& source, const WeightInfo& weight, cpu::Team& team);
// Of all weights(): what Model::contents() is once they are loaded.
PlacedSum sum_of(const WeightSource& source, cpu::Team& team, const Progress& progress = {});

}  // namespace dodeca::runtime
