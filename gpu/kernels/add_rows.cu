#include "gpu/kernels/add_rows.hpp"
#include "gpu/kernels/dialect.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

DODECA_KERNEL(add_rows, AddRowsArgs, kAddRowsThreads) {
  const std::int64_t row = blockIdx.y;
  const std::int32_t column = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x) * 4;
  if (column >= args.width) return;
  auto* const out = reinterpret_cast<float4*>(args.out + row * args.out_stride + column);
  const float4 more = __ldg(reinterpret_cast<const float4*>(args.in + row * args.in_stride + column));
  float4 sum = *out;
  sum.x += more.x;
  sum.y += more.y;
  sum.z += more.z;
  sum.w += more.w;
  *out = sum;
}

}  // namespace dodeca::gpu::DODECA_KERNELS
