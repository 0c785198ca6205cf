// Matrix products with packed weights: out[i][r] = sum_k W[r][k] * x[i][k].
//
// Weights are stored in tiles of 16 rows, row-interleaved (quant/layout/tile.hpp), so that one vector lane owns one row: no
// horizontal sums, and the arithmetic of a result is the same at every ISA level, for every tile shape and number of
// activation rows:
//   K-quants   acc = fma(d_w*d_x, float(isum), acc); with minima also acc = fma(-(dmin_w*d_x), float(msum), acc);
//              super-blocks of 256 in ascending order, isum and msum exact int32 sums (format tables: quant/formats);
//   lattices   as K-quants with factor (unit*d_w)*d_x, unit 1/8 (IQ1, IQ2), 1/4 (IQ3_XXS) or 1 (IQ3_S), and isum
//              the sum over sub-blocks of (2s + 1) * dot; IQ1 in eighths: 8 * point +- 1;
//   32-blocks  acc = fma(d_w*d_x, float(isum), acc) [then acc = fma(m_w, d_x*float(sum_x), acc) for Q4_1 and Q5_1];
//   floats     four partial sums s[j], j = k mod 4, s[j] = fma(w, x, s[j]), k ascending; result (s0 + s1) + (s2 + s3);
//              FP8 does so inside each block of 128 with weights times 2^-8 and folds acc = fma(2^8 * scale, sum, acc).
// With `accumulate` the result is added to what is there, one float addition.
// So every exact variant of the lists is bit-identical to the scalar one. Variants of class kTolerance (oneDNN) are their own
// route, chosen only when asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/isa.hpp"
#include "cpu/kernels/matmul/matmul_args.hpp"
#include "cpu/kernels/matmul/tuning.hpp"
#include "quant/dtype.hpp"

namespace dodeca::cpu {

using quant::all_layouts;
using quant::layout_of;
using quant::LayoutKind;

// Work space of one thread for any kernel of the lists.
std::size_t matmul_scratch_bytes(std::int64_t n_in);

enum class Match {
  kExact,      // the same bits as the scalar variant
  kTolerance,  // a derived bound; a row's result still depends on nothing but the row
};

struct MatmulKernel {
  std::string_view name;  // "gemv_q2_k_avx512_vnni"
  Isa isa;                // what it needs
  quant::DType dtype;
  Match match;
  MatmulFn run;
  LayoutKind layout = LayoutKind::kTiles16;  // how its weights lie
};

// gemv: made for few activation rows; gemm: for many. Both accept any n_acts >= 0 and any tile range, and give the same
// bits.
std::span<const MatmulKernel> gemv_kernels();
std::span<const MatmulKernel> gemm_kernels();

// Who multiplies many rows by F32 and BF16 weights.
enum class FloatGemm { kOwn, kOneDnn };

struct MatmulChoice {
  const Layout* layout;  // of the weights, for both
  const MatmulKernel* gemv;
  const MatmulKernel* gemm;
  std::int64_t gemm_min_rows;         // rows from which gemm is preferred over gemv
  std::vector<std::string> refusals;  // why what is preferred is not taken: kernel_list.hpp, a sentence each
};
// The variants for a decodable weight type that `isa` can run: by the rule the last ones of the lists (a scalar one exists
// for every type), gemm from kGemmMinRows on; what `tuning` says of the type is preferred when both its variants are here.
MatmulChoice select_matmul(quant::DType dtype, Isa isa, FloatGemm float_gemm = FloatGemm::kOwn,
                           std::span<const TunedVariants> tuning = {});
inline constexpr std::int64_t kGemmMinRows = 9;
// Of `variants` the exact one of a type for an instruction set; null when there is none.
const MatmulKernel* exact_variant(std::span<const MatmulKernel> variants, quant::DType dtype, Isa isa);

}  // namespace dodeca::cpu
