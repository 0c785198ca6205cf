#include "runtime/exec/multiply.hpp"

#include <algorithm>

#include "quant/codec.hpp"

namespace dodeca::runtime::exec {
namespace {

// Of a thread's work space, what the kernels themselves take.
std::size_t kernel_scratch_bytes(std::int64_t n_in) { return (cpu::matmul_scratch_bytes(n_in) + 63) / 64 * 64; }

// The reference route: sixteen rows decoded by the format's definition, packed as float32, multiplied by the float32
// kernel.
void multiply_reference(const Product& p, cpu::MatmulArgs args, cpu::MatmulFn run) noexcept {
  const PackedMatrix& w = p.weight;
  const std::size_t row_bytes = w.tile_bytes / cpu::kTileRows;
  float* rows = reinterpret_cast<float*>(p.scratch + kernel_scratch_bytes(w.n_in));
  std::byte* tile = reinterpret_cast<std::byte*>(rows + cpu::kTileRows * w.n_in);
  for (std::int64_t t = p.tile_begin; t < p.tile_end; ++t) {
    const std::byte* pointers[cpu::kTileRows] = {};
    const std::int64_t n_rows = std::min<std::int64_t>(cpu::kTileRows, w.n_out - t * cpu::kTileRows);
    for (std::int64_t r = 0; r < n_rows; ++r) {
      float* row = rows + r * w.n_in;
      quant::decode_row(
          w.dtype,
          w.slice(p.slice) + static_cast<std::size_t>(t) * w.tile_bytes + static_cast<std::size_t>(r) * row_bytes, row,
          w.n_in);
      pointers[r] = reinterpret_cast<const std::byte*>(row);
    }
    w.layout->pack(pointers, w.n_in, tile);
    args.weights = tile;
    args.n_out = n_rows;
    args.tile_begin = 0;
    args.tile_end = 1;
    args.out = p.out + t * cpu::kTileRows;
    run(args);
  }
}

void scale_results(const Product& p) noexcept {
  const std::int64_t n_out = p.weight.n_out, begin = p.tile_begin * cpu::kTileRows,
                     end = std::min(p.tile_end * cpu::kTileRows, n_out);
  for (std::int64_t i = 0; i < p.n_acts; ++i) {
    const float factor = p.act_factors[p.act_rows == nullptr ? i : p.act_rows[i]];
    if (factor != 1.0f) scale(p.out + i * p.out_stride + begin, factor, end - begin);
  }
}

}  // namespace

void scale(float* y, float factor, std::int64_t n) noexcept {
  for (; n >= cpu::kTileRows; n -= cpu::kTileRows, y += cpu::kTileRows) {
    for (std::int64_t j = 0; j < cpu::kTileRows; ++j) y[j] *= factor;  // a known length becomes vectors
  }
  for (std::int64_t j = 0; j < n; ++j) y[j] *= factor;
}

std::size_t multiply_scratch_bytes(const WeightPlan& weight) {
  if (weight.layout == nullptr) return 0;
  const std::size_t floats = static_cast<std::size_t>(cpu::kTileRows * weight.n_in) * sizeof(float);
  return kernel_scratch_bytes(weight.n_in) +
         (weight.storage == Storage::kReference ? floats + weight.layout->tile_bytes(weight.n_in) : 0);
}

void multiply(const Product& p) noexcept {
  if (p.n_acts == 0 || p.tile_begin >= p.tile_end) return;
  const PackedMatrix& w = p.weight;
  const bool prompt_route = p.prompt && w.prompt != nullptr;
  const cpu::MatmulFn run = (prompt_route ? w.prompt : p.n_acts < w.gemm_min_rows ? w.gemv : w.gemm)->run;
  const cpu::MatmulArgs args{.layout = w.layout,
                             .weights = w.reference ? nullptr : w.slice(p.slice),
                             .n_in = w.n_in,
                             .n_out = w.n_out,
                             .tile_begin = p.tile_begin,
                             .tile_end = p.tile_end,
                             .acts = p.acts,
                             .act_stride = p.act_stride,
                             .act_rows = p.act_rows,
                             .n_acts = p.n_acts,
                             .out = p.out,
                             .out_stride = p.out_stride,
                             .accumulate = p.accumulate,
                             .scratch = p.scratch};
  if (w.reference)
    multiply_reference(p, args, run);
  else
    run(args);
  if (p.act_factors != nullptr) scale_results(p);
}

}  // namespace dodeca::runtime::exec
