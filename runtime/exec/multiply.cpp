#include "runtime/exec/multiply.hpp"

#include <algorithm>
#include <utility>

#include "quant/codec.hpp"

namespace dodeca::runtime {

void Activations::wanted_by(const PackedMatrix& weight) {
  if (!weight || weight.layout->act == cpu::ActFormat::kF32) return;
  strides_[index(weight.layout->act)] = cpu::act_row_bytes(weight.layout->act, n_);
}

std::uint64_t Activations::bytes_per_row(std::int64_t n) {
  // int8 copies exist for whole blocks only; their size is below that of the floats.
  return 2 * cpu::act_row_bytes(cpu::ActFormat::kF32, n) + 128;
}

void Activations::allocate() {
  floats_ = cpu::Buffer(static_cast<std::size_t>(n_rows_) * stride_);
  for (int i = 0; i < 2; ++i) copies_[i] = cpu::Buffer(static_cast<std::size_t>(n_rows_) * strides_[i]);
}

void Activations::quantize(std::int64_t i, std::int64_t n, cpu::Isa isa) const noexcept {
  constexpr std::pair<cpu::ActFormat, std::int64_t> kFormats[] = {{cpu::ActFormat::kQ8_256, 256},
                                                                  {cpu::ActFormat::kQ8_32, 32}};
  for (const auto& [format, block] : kFormats) {
    const std::size_t stride = strides_[index(format)];
    if (stride > 0)
      cpu::quantize_act(format, row(i), n / block * block,
                        copies_[index(format)].data() + static_cast<std::size_t>(i) * stride, isa);
  }
}

std::size_t multiply_scratch_bytes(const PackedMatrix& weight) {
  if (!weight) return 0;
  const std::size_t floats = static_cast<std::size_t>(cpu::kTileRows * weight.n_in) * sizeof(float);
  const std::size_t own = (cpu::matmul_scratch_bytes(weight.n_in) + 63) / 64 * 64;
  return own + (weight.reference ? floats + weight.layout->tile_bytes(weight.n_in) : 0);
}

namespace {

// The reference route: sixteen rows decoded by the format's definition, packed as float32, multiplied by the float32
// kernel.
void multiply_reference(const Product& p, cpu::MatmulArgs args, cpu::MatmulFn run) noexcept {
  const PackedMatrix& w = p.weight;
  const std::size_t row_bytes = w.tile_bytes / cpu::kTileRows;
  float* rows = reinterpret_cast<float*>(p.scratch + (cpu::matmul_scratch_bytes(w.n_in) + 63) / 64 * 64);
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

}  // namespace

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
                             .scratch = p.scratch};
  if (w.reference) return multiply_reference(p, args, run);
  run(args);
}

}  // namespace dodeca::runtime
