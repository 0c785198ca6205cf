// A placed weight as kernels read it.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kernels/matmul/matmul.hpp"
#include "runtime/plan/plan.hpp"

namespace dodeca::runtime {

// A weight, or one piece of the columns of one of its parts, in tiles: n_slices matrices of n_out rows and n_in columns,
// slice after slice. Read-only after load.
struct PackedMatrix {
  const cpu::Layout* layout = nullptr;  // null: there is no such weight
  const cpu::MatmulKernel* gemv = nullptr;
  const cpu::MatmulKernel* gemm = nullptr;
  std::int64_t gemm_min_rows = cpu::kGemmMinRows;
  const cpu::MatmulKernel* prompt = nullptr;                    // null: gemv and gemm for prompts too
  std::int64_t n_in = 0, n_out = 0, n_slices = 0, n_tiles = 0;  // tiles per slice
  std::int64_t row_begin = 0;                                   // of the whole weight's rows, a multiple of 16
  std::int64_t part = 0, column_begin = 0;                      // of the part's columns, a multiple of 64
  std::size_t tile_bytes = 0;
  bool reference = false;  // tiles are 16 rows in file form, of type `dtype`; multiplied as decoded float32
  quant::DType dtype = quant::DType::kF32;
  std::byte* data = nullptr;  // in a slab of the store

  const std::byte* slice(std::int64_t index) const {
    return data + static_cast<std::size_t>(index * n_tiles) * tile_bytes;
  }
  std::size_t bytes() const { return static_cast<std::size_t>(n_slices * n_tiles) * tile_bytes; }
  std::uint64_t slice_bytes() const { return static_cast<std::uint64_t>(n_tiles) * tile_bytes; }
  std::uint64_t macs() const { return static_cast<std::uint64_t>(n_out * n_in); }  // of one slice and one row
  explicit operator bool() const { return n_slices > 0 && n_out > 0 && n_in > 0; }

  // Row `row` of slice `index` as floats [n_in]; `scratch` holds one row in file form.
  void decode_row(std::int64_t index, std::int64_t row, std::byte* scratch, float* out) const noexcept;
};

// What the parts of a weight will be, and the pieces of each in order, without memory yet.
std::vector<PackedMatrix> unplaced(const WeightPlan& weight);

}  // namespace dodeca::runtime
