// Matrix products with packed weights: out[i][r] = sum_k W[r][k] * x[i][k].
//
// Weights are stored in tiles of 16 rows, row-interleaved, so that one vector lane owns one row: no horizontal sums, and
// the arithmetic of a result is the same at every ISA level, for every tile shape and number of activation rows:
//   K-quants   acc = fma(d_w*d_x, float(isum), acc); with mins also acc = fma(-(dmin_w*d_x), float(msum), acc);
//              super-blocks of 256 in ascending order, isum and msum exact int32 sums (format tables: quant/formats);
//   32-blocks  acc = fma(d_w*d_x, float(isum), acc) [+ fma(m_w, d_x*float(sum_x), acc) for Q4_1 and Q5_1], blocks ascending;
//   floats     four partial sums s[j], j = k mod 4, s[j] = fma(w, x, s[j]), k ascending; result (s0 + s1) + (s2 + s3);
//              FP8 does so inside each block of 128 and folds acc = fma(scale, block_sum, acc).
// So every line of the lists is bit-identical to the scalar one. oneDNN lines are the exception: a tolerance, their own
// route, and never chosen unless the plan says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/isa.hpp"
#include "quant/dtype.hpp"

namespace dodeca::cpu {

inline constexpr int kTileRows = 16;

// How activation rows are stored for a product.
enum class ActFormat {
  kF32,    // n_in floats
  kQ8_256, // per 256: see quantize_act.hpp; n_in padded to a multiple of 256 is not allowed: K-quants divide it
  kQ8_32,  // per 32
};

// A packed layout: named, invertible, one per weight type that has kernels. The other decodable types are packed as kF32's
// rival `raw` layout: file blocks row after row, decoded tile by tile by the scalar codec (slow, correct).
struct Layout {
  quant::DType dtype;          // what it packs
  std::string_view name;       // "q2_k_x16", "raw"
  ActFormat act;
  std::size_t (*tile_bytes)(std::int64_t n_in);                                   // 16 rows of n_in weights; a multiple of 64
  // rows: 16 pointers to file blocks of one row each, null = a row of zeros (padding of the last tile).
  void (*pack)(const std::byte* const* rows, std::int64_t n_in, std::byte* tile);
  void (*unpack)(const std::byte* tile, std::int64_t n_in, std::byte* const* rows);  // exact inverse; null rows skipped
};

// The layout for a weight type; every decodable dtype has one.
const Layout& layout_of(quant::DType dtype);
std::span<const Layout* const> all_layouts();

struct MatmulArgs {
  const Layout* layout;
  const std::byte* weights;     // tiles [tile_begin, ...): first byte of tile 0 of this matrix, 64-byte aligned
  std::int64_t n_in;            // columns (K)
  std::int64_t n_out;           // rows; the last tile may be partial
  std::int64_t tile_begin, tile_end;  // the part to compute, in tiles of 16 rows
  const std::byte* acts;        // activation rows in layout->act format, 64-byte aligned
  std::size_t act_stride;       // bytes between activation rows, = act_row_bytes(act, n_in) or more
  const std::int32_t* act_rows; // [n_acts] which activation row feeds output i; null: row i
  std::int64_t n_acts;
  float* out;                   // out[i * out_stride + r], r in [16*tile_begin, min(16*tile_end, n_out)): absolute row index
  std::int64_t out_stride;      // floats
  std::byte* scratch;           // matmul_scratch_bytes(n_in) bytes, 64-byte aligned, this thread's own
};
using MatmulFn = void (*)(const MatmulArgs&) noexcept;

std::size_t matmul_scratch_bytes(std::int64_t n_in);

struct MatmulKernel {
  std::string_view name;    // "gemv_q2_k_q8_256_avx512_vnni"
  Isa isa;
  quant::DType dtype;
  ActFormat act;
  MatmulFn run;
};

// gemv: made for 1..8 activation rows; gemm: for more. Both accept any n_acts >= 0 and give the same bits.
std::span<const MatmulKernel> gemv_kernels();
std::span<const MatmulKernel> gemm_kernels();
struct MatmulChoice {
  const MatmulKernel* gemv;
  const MatmulKernel* gemm;
  std::vector<std::string> refusals;  // "gemm_q2_k_q8_256_avx512_vnni: needs avx512_vnni, have avx2"
};
// The best lines for a weight type at most at `isa`. Never null: a scalar line exists for every layout.
MatmulChoice select_matmul(quant::DType dtype, Isa isa);
// Rows from which gemm is preferred over gemv.
inline constexpr std::int64_t kGemmMinRows = 9;

}  // namespace dodeca::cpu
