#include <algorithm>
#include <cmath>

#include "cpu/kernels/norm/norm.hpp"
#include "runtime/exec/pass.hpp"

namespace dodeca::runtime {

void project(const Pass& pass, const cpu::Member& member, const PackedMatrix& weight, const Activations& acts,
             const Activations& out, std::int64_t out_offset) noexcept {
  const cpu::Range tiles = member.part(weight.n_tiles);
  const cpu::ActFormat format = weight.layout->act;
  multiply({.weight = weight,
            .tile_begin = tiles.begin,
            .tile_end = tiles.end,
            .acts = acts.data(format),
            .act_stride = acts.stride(format),
            .n_acts = pass.n(),
            .out = out.row(0) + out_offset,
            .out_stride = out.stride_floats(),
            .scratch = pass.space.threads[static_cast<std::size_t>(member.index)].matmul.data(),
            .prompt = pass.prompt()});
}

void add_inputs(const Pass& pass, const cpu::Member& member, InputSums::Input& input, const Activations& rows,
                std::int64_t step) noexcept {
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    for (std::int64_t slice = 0; slice < input.n_slices; ++slice) input.add(member, slice, rows.row(i) + slice * step);
  }
}

void normalize_row(const Pass& pass, std::int64_t i, const std::vector<float>& weight, std::int64_t point) noexcept {
  const Workspace& s = pass.space;
  const std::int64_t n = pass.config().hidden_size;
  const float* x = s.x.row(i);
  float poison = 0.0f;  // becomes NaN with the first non-finite value
  for (std::int64_t j = 0; j < n; ++j) poison += x[j] * 0.0f;
  if (!(poison == 0.0f)) {
    std::int64_t first = pass.space.bad_point.load(std::memory_order_relaxed);
    while (point < first && !pass.space.bad_point.compare_exchange_weak(first, point, std::memory_order_relaxed)) {
    }
  }
  cpu::rms_norm(x, weight.data(), n, static_cast<float>(pass.config().rms_norm_eps), s.normed.row(i), pass.weights.isa);
  s.normed.quantize(i, pass.weights.isa);
}

}  // namespace dodeca::runtime
