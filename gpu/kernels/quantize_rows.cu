#include "gpu/kernels/exp_exact.cuh"
#include "gpu/kernels/quantize_rows.hpp"
#include "gpu/kernels/row_blocks.cuh"

namespace dodeca::gpu::DODECA_KERNELS {

DODECA_KERNEL(quantize_rows, QuantizeRowsArgs, kRowThreads) {
  const std::int64_t row = blockIdx.x;
  const float* const x = args.in + row * args.in_stride;
  for_row(
      args.n, args.copies, dynamic_shared<float>(), [&](std::int32_t k) { return x[k]; }, [](int) {},
      [](float value, std::int32_t) { return value; }, [](int, int) {});
}

// With e = exp(-|x|), which never overflows: silu = x / (1 + e) for x >= 0, x e / (1 + e) below. The clamp keeps
// -infinity * 0 from becoming NaN.
__device__ inline float silu(float gate) {
  constexpr float kLowest = -0x1.fffffep+127f;
  const float x = kLowest > gate ? kLowest : gate;
  const float e = exp_exact(-fabsf(x));
  const float numerator = (__float_as_uint(x) & 0x80000000u) != 0 ? x * e : x;
  return numerator / (1.0f + e);
}

DODECA_KERNEL(swiglu_rows, SwigluRowsArgs, kRowThreads) {
  const std::int64_t row = blockIdx.x;
  const float* const gate = args.gate + row * args.gate_stride;
  const float* const up = args.up + row * args.up_stride;
  float* const out = args.out == nullptr ? nullptr : args.out + row * args.out_stride;
  struct Inputs {
    float gate, up;
  };
  for_row(
      args.n, args.copies, dynamic_shared<float>(),
      [&](std::int32_t k) {
        return Inputs{gate[k], up[k]};
      },
      [](int) {},
      [&](const Inputs& in, std::int32_t k) {
        const float value = silu(in.gate) * in.up;
        if (out != nullptr) out[k] = value;
        return value;
      },
      [](int, int) {});
}

}  // namespace dodeca::gpu::DODECA_KERNELS
