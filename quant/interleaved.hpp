// Types whose rows ik_llama.cpp interleaves in groups (_R4: four rows) for its own products. A group has as many bytes as
// its rows have apart, and holds the same numbers: here it becomes plain rows again, bit by bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "quant/dtype.hpp"

namespace dodeca::quant {

struct InterleavedType {
  std::uint32_t id;       // in GGUF files
  std::string_view name;  // "IQ4_K_R4"
  DType dtype;            // of the plain rows
  std::int64_t rows;      // in a group
};

// Null for an id that is none of theirs.
const InterleavedType* find_interleaved(std::uint32_t id);

// group, rows: type.rows * row_bytes(type.dtype, n) bytes each; they do not overlap. n is a multiple of the block.
void deinterleave(const InterleavedType& type, const std::byte* group, std::int64_t n, std::byte* rows);

}  // namespace dodeca::quant
