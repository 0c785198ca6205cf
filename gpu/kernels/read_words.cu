#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/read_words.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

__device__ inline std::uint32_t sum_of(const uint4& v) { return v.x + v.y + v.z + v.w; }

DODECA_KERNEL(read_words, ReadWordsArgs, kReadWordsThreads) {
  const std::int64_t n = args.n / 4, step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  const auto* const in = reinterpret_cast<const uint4*>(args.in);
  std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  std::uint32_t sum = 0;
  for (; i + 3 * step < n; i += 4 * step) {
    const uint4 a = load_once(in + i), b = load_once(in + i + step), c = load_once(in + i + 2 * step),
                d = load_once(in + i + 3 * step);
    sum += sum_of(a) + sum_of(b) + sum_of(c) + sum_of(d);
  }
  for (; i < n; i += step) sum += sum_of(load_once(in + i));
  sum = __reduce_add_sync(0xffffffffu, sum);
  if (threadIdx.x % 32 == 0) atomicAdd(args.sum, sum);
}

}  // namespace dodeca::gpu::DODECA_KERNELS
