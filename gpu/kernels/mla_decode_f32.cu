#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/mla_decode.hpp"

namespace dodeca::gpu::DODECA_KERNELS {
namespace {

constexpr float kLog2E = 1.44269504f;
constexpr std::int32_t kWarps = 8;                                      // heads of a block
constexpr std::int32_t kMostValues = 640 / 32, kMostLatent = 512 / 32;  // of a lane: every 32nd value of a row

// Value i of a row.
__device__ float cached(const CacheShape& shape, const std::byte* row, std::int32_t i) {
  if (shape.type == CacheType::kF32) return __ldg(reinterpret_cast<const float*>(row) + i);
  if (shape.type == CacheType::kBf16) return bf16_to_f32(__ldg(reinterpret_cast<const std::uint16_t*>(row) + i));
  if (shape.type == CacheType::kF16) return f16_to_f32(__ldg(reinterpret_cast<const std::uint16_t*>(row) + i));
  const float scale = __ldg(reinterpret_cast<const float*>(row + cache_scale_offset(shape)));
  if (i < shape.latent) return scale * static_cast<float>(__ldg(reinterpret_cast<const std::int8_t*>(row) + i));
  const auto* const keys = reinterpret_cast<const std::uint16_t*>(row + cache_rope_offset(shape));
  return scale * bf16_to_f32(__ldg(keys + i - shape.latent));
}

}  // namespace

// A warp takes a head. The softmax is folded position by position.
DODECA_KERNEL(mla_decode_f32, MlaDecodeArgs, kWarps * 32) {
  const std::int64_t row = blockIdx.z;
  const auto lane = static_cast<std::int32_t>(threadIdx.x % 32), chunk = static_cast<std::int32_t>(blockIdx.x),
             head = static_cast<std::int32_t>(blockIdx.y * kWarps + threadIdx.x / 32);
  const std::int32_t position = args.positions[row], width = args.shape.latent + args.shape.rope;
  if (position < 0 || head >= args.n_heads) return;
  const MlaCut cut = mla_cut(position, args.most_chunks);
  if (chunk >= cut.count) return;
  const std::int32_t begin = chunk * cut.length, end = min(begin + cut.length, position + 1);
  const std::int32_t* const blocks =
      args.cache.table + static_cast<std::int64_t>(args.sequences[row]) * args.cache.table_stride;
  const float* const queries = args.queries + (row * args.n_heads + head) * width;

  float query[kMostValues], acc[kMostLatent] = {}, max = -INFINITY, sum = 0.0f;
#pragma unroll
  for (std::int32_t i = 0; i < kMostValues; ++i) query[i] = 32 * i + lane < width ? queries[32 * i + lane] : 0.0f;
  for (std::int32_t p = begin; p < end; ++p) {
    const std::byte* const keys =
        args.cache.rows + cache_row_offset(__ldg(blocks + p / kCacheBlock), p, args.cache.row_bytes);
    float values[kMostValues], score = 0.0f;
#pragma unroll
    for (std::int32_t i = 0; i < kMostValues; ++i) {
      values[i] = 32 * i + lane < width ? cached(args.shape, keys, 32 * i + lane) : 0.0f;
      score = fmaf(query[i], values[i], score);
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) score += __shfl_xor_sync(~0u, score, distance);
    score *= args.scale * kLog2E;
    const float new_max = fmaxf(max, score), correction = exp2f(max - new_max), weight = exp2f(score - new_max);
    max = new_max;
    sum = fmaf(sum, correction, weight);
#pragma unroll
    for (std::int32_t i = 0; i < kMostLatent; ++i) acc[i] = fmaf(weight, values[i], acc[i] * correction);
  }

  const std::int64_t at = (row * args.most_chunks + chunk) * args.n_heads + head;
  if (lane == 0) {
    args.partials.max[at] = max;
    args.partials.sum[at] = sum;
  }
#pragma unroll
  for (std::int32_t i = 0; i < kMostLatent; ++i) {
    if (32 * i + lane < args.shape.latent) args.partials.acc[at * args.shape.latent + 32 * i + lane] = acc[i];
  }
}

}  // namespace dodeca::gpu::DODECA_KERNELS
