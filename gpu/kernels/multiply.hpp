// multiply_<type>_<columns>: out[i][r] = sum over k of weight[r][k] * act[i][k], for weights in tiles of 16 rows
// (quant/layout) and activation rows in the format of their layout, 1, 2, 4 or 8 rows at a time, or, of types of
// blocks, many: 64 at a time on the tensor cores (multiply_many.cuh). More rows take more blocks, each of which reads
// the weights again (from L2, where they fit).
//
// Weights may have slices (heads, experts), and rows may be grouped, each group with a slice of its own. With
// `accumulate` results are added to what is there; a factor of the activation row is applied last.
//
// Arithmetic. Types of blocks: the integers of a sub-block are those of processors (cpu/kernels/matmul), summed by dp4a; each
// sub-block's sum is scaled as an integer, converted (with many rows: once for all sub-blocks that share a factor) and
// added with one fma to a float32 sum of one lane. Sums of lanes, warps and blocks are added in a fixed order: results
// depend on the split, never on timing. They differ from a processor's by rounding alone, at most (2 blocks + n_in /
// 256 + 16) * 2^-24 times the sum of the terms' magnitudes.
// Types of floats: pieces of piece_columns columns, each summed exactly as processors sum (four sums by k mod 4, then
// (s0 + s1) + (s2 + s3); FP8 in blocks of 128), and added in ascending order. With the pieces that the processor's plan
// has, the results have the processor's bits: so the router chooses the same experts.
//
// Bytes: the weights once per group of columns, and the activation rows of each block from L1 and L2. Operations: two per
// weight and row. Up to about 4 rows a card waits for memory, not for dp4a.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gpu/kernels/grid.hpp"
#include "gpu/kernels/kernel_id.hpp"
#include "quant/dtype.hpp"

namespace dodeca::gpu {

struct MultiplyArgs {
  const std::byte* weights;    // tile 0 of slice 0, 64 bytes aligned
  const std::byte* acts;       // activation rows of group 0, 16 bytes aligned (blocks of 32: 8)
  const std::int32_t* slices;  // [n_groups] slice of a group, negative: nothing is done; null: group g has slice g
  const std::int32_t*
      group_begin;               // [n_groups + 1] group g has rows [group_begin[g], group_begin[g + 1]); null: all have
                                 // rows [0, n_rows)
  const std::int32_t* act_rows;  // [rows] which activation row feeds row i; null: row i
  const float* factors;          // [activation rows] what results are multiplied with; null: 1
  float* out;                    // out[group * out_group_stride + i * out_stride + r]
  float* partials;               // [MultiplyLaunch::n_partials]; null where nothing is split over blocks
  std::uint32_t* counters;       // [MultiplyLaunch::n_counters], zero before the first launch and again after each
  std::int64_t slice_bytes;      // from one slice to the next
  std::int64_t act_stride;       // bytes from one activation row to the next; those of a group are within 4 GiB
  std::int64_t
      act_group_stride;  // bytes from the activation rows of a group to those of the next; 0: all read the same
  std::int64_t out_stride, out_group_stride;  // floats
  std::int32_t n_in, n_out;
  std::int32_t n_rows;    // of a group, at most
  std::int32_t n_groups;  // 1 and more
  bool accumulate;
  // Set by plan_multiply:
  std::int32_t n_splits;       // blocks that share a tile's columns
  std::int32_t piece_columns;  // types of floats: a multiple of 4 (FP8: 128)
};

bool can_multiply(quant::DType dtype);

// A launch: `args` with the split's numbers set. Its partials and counters are the caller's to set: work space of so many
// floats and counters, none without a split. Products that run at the same time need their own.
struct MultiplyLaunch {
  KernelId kernel;
  Grid grid;
  MultiplyArgs args;
  std::size_t n_partials = 0, n_counters = 0;
};
// Spreads a product over a card of so many multiprocessors. piece_columns, for types of floats: those of the processor's
// plan, for the same bits; 0: as is fastest. dtype: one that can_multiply().
MultiplyLaunch plan_multiply(quant::DType dtype, const MultiplyArgs& args, std::int32_t multiprocessors,
                             std::int32_t piece_columns = 0);

// Of one launch where all groups have n_rows rows.
std::uint64_t multiply_bytes(quant::DType dtype, const MultiplyArgs& args);
std::uint64_t multiply_operations(const MultiplyArgs& args);

}  // namespace dodeca::gpu
