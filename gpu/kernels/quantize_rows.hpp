// quantize_rows: int8 copies of float32 rows. swiglu_rows: the same of silu(gate) * up, which is also kept as floats.
//
// The same bits as cpu::quantize_act, and as cpu::swiglu before it.
//
// quantize_rows reads 4 bytes per value and writes 1.25 for each copy; 5 operations for each copy. swiglu_rows reads 8
// bytes and writes 4 more; 20 operations more.
#pragma once

#include <cstdint>

#include "gpu/kernels/grid.hpp"
#include "gpu/kernels/row_copies.hpp"

namespace dodeca::gpu {

// Rows of n float32 values; strides in values.
struct QuantizeRowsArgs {
  const float* in;  // [n_rows, n]
  std::int64_t in_stride;
  RowCopies copies;
  std::int32_t n_rows, n;
};
struct SwigluRowsArgs {
  const float* gate;  // [n_rows, n]
  const float* up;    // [n_rows, n]
  float* out;         // [n_rows, n], may be gate or up; null: only the copies are wanted
  std::int64_t gate_stride, up_stride, out_stride;
  RowCopies copies;
  std::int32_t n_rows, n;
};

inline Grid quantize_rows_grid(const QuantizeRowsArgs& args) { return row_grid(args.n_rows, args.n); }
inline Grid swiglu_rows_grid(const SwigluRowsArgs& args) { return row_grid(args.n_rows, args.n); }
inline std::uint64_t quantize_rows_bytes(const QuantizeRowsArgs& args) {
  return static_cast<std::uint64_t>(args.n_rows) *
         (4 * static_cast<std::uint64_t>(args.n) + copies_bytes(args.copies, args.n));
}
inline std::uint64_t swiglu_rows_bytes(const SwigluRowsArgs& args) {
  return static_cast<std::uint64_t>(args.n_rows) *
         ((args.out == nullptr ? 8 : 12) * static_cast<std::uint64_t>(args.n) + copies_bytes(args.copies, args.n));
}
inline std::uint64_t quantize_rows_operations(const QuantizeRowsArgs& args) {
  return 5 * static_cast<std::uint64_t>(args.n_rows) * static_cast<std::uint64_t>(args.n);
}
inline std::uint64_t swiglu_rows_operations(const SwigluRowsArgs& args) {
  return 25 * static_cast<std::uint64_t>(args.n_rows) * static_cast<std::uint64_t>(args.n);
}

}  // namespace dodeca::gpu
