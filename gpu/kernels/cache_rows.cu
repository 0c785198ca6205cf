#include "gpu/kernels/cache_rows.hpp"
#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/rotate.cuh"

namespace dodeca::gpu::DODECA_KERNELS {
namespace {

constexpr std::uint32_t kWarps = kAppendThreads / 32;
constexpr float kTop = 127.0f;

// Sum and largest of a block's values, the same in every thread; `space` is free when all threads have entered.
__device__ float block_sum(float value, float* space) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(~0u, value, distance);
  if (threadIdx.x % 32 == 0) space[threadIdx.x / 32] = value;
  __syncthreads();
  float sum = space[0];
  for (std::uint32_t warp = 1; warp < kWarps; ++warp) sum += space[warp];
  return sum;
}
__device__ std::uint32_t block_max(std::uint32_t value, std::uint32_t* space) {
  value = __reduce_max_sync(~0u, value);
  if (threadIdx.x % 32 == 0) space[threadIdx.x / 32] = value;
  __syncthreads();
  std::uint32_t max = space[0];
  for (std::uint32_t warp = 1; warp < kWarps; ++warp) max = space[warp] > max ? space[warp] : max;
  return max;
}

__device__ float4 load_or_zero(const float* values, std::int32_t at, bool there) {
  return there ? __ldg(reinterpret_cast<const float4*>(values + at)) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}
__device__ void add_to(float4& x, const float4& y) {
  x.x += y.x;
  x.y += y.y;
  x.z += y.z;
  x.w += y.w;
}

__device__ std::uint32_t magnitude_bits(float x) { return __float_as_uint(x) & 0x7fffffffu; }
__device__ std::uint32_t largest_bits(const float4& x) {
  const std::uint32_t a = magnitude_bits(x.x), b = magnitude_bits(x.y), c = magnitude_bits(x.z),
                      d = magnitude_bits(x.w), ab = a > b ? a : b, cd = c > d ? c : d;
  return ab > cd ? ab : cd;
}

// The rule of cache_rows.hpp; factor 0: all zeros.
struct RowScale {
  float scale, factor;
};
__device__ RowScale row_scale(std::uint32_t largest) {
  if (largest < (27u << 23)) return {1.0f, 0.0f};  // 2^-100
  if (largest >= 0x7f800000u) return {__uint_as_float(0x7fc00000u), 0.0f};
  const float top = __uint_as_float(largest);
  return {top / kTop, kTop / top};
}
__device__ std::uint32_t rounded_byte(float x, float factor) {
  return factor == 0.0f ? 0u : static_cast<std::uint32_t>(static_cast<std::int32_t>(rintf(x * factor))) & 255u;
}

// The largest where it is too large; NaN stays NaN.
__device__ std::uint32_t held_f16(float x) {
  return f32_to_f16(x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x);
}

// Values i and i + 1 of a part of a row, as floats of the cache's type; of an int8 row only the rope part has such.
__device__ void store_pair(CacheType type, std::byte* part, std::int32_t i, float x, float y) {
  if (type == CacheType::kF32)
    *reinterpret_cast<float2*>(part + 4 * i) = make_float2(x, y);
  else
    *reinterpret_cast<std::uint32_t*>(part + 2 * i) =
        type == CacheType::kF16 ? held_f16(x) | held_f16(y) << 16 : pack_bf16(x, y);
}

}  // namespace

DODECA_KERNEL(append_cache_rows, AppendCacheArgs, kAppendThreads) {
  DODECA_SHARED(float, sums, [kWarps]);
  DODECA_SHARED(std::uint32_t, maxima, [kWarps]);
  const std::int64_t row = blockIdx.x;
  const std::int32_t position = args.positions[row], latent = args.shape.latent, rope = args.shape.rope,
                     thread = static_cast<std::int32_t>(threadIdx.x), at = 4 * thread;
  if (position < 0) return;
  const bool mine = at < latent;
  const float* const kv = args.kv + row * args.kv_stride;
  const std::int32_t block =
      args.cache
          .table[static_cast<std::int64_t>(args.sequences[row]) * args.cache.table_stride + position / kCacheBlock];
  std::byte* const out = args.cache.rows + cache_row_offset(block, position, args.cache.row_bytes);

  float4 x = load_or_zero(kv, at, mine);
  if (args.bias != nullptr) add_to(x, load_or_zero(args.bias, at, mine));
  const float squares = fmaf(x.x, x.x, fmaf(x.y, x.y, fmaf(x.z, x.z, x.w * x.w)));
  const float mean = block_sum(squares, sums) / static_cast<float>(latent), inverse = 1.0f / sqrtf(mean + args.eps);
  const float4 weight = load_or_zero(args.norm, at, mine);
  x = make_float4(x.x * inverse * weight.x, x.y * inverse * weight.y, x.z * inverse * weight.z,
                  x.w * inverse * weight.w);

  float per_unit = 1.0f;  // of the rope part
  if (args.shape.type == CacheType::kInt8) {
    const RowScale scale = row_scale(block_max(largest_bits(x), maxima));
    per_unit = 1.0f / scale.scale;
    if (mine) {
      *reinterpret_cast<std::uint32_t*>(out + at) =
          rounded_byte(x.x, scale.factor) | rounded_byte(x.y, scale.factor) << 8 |
          rounded_byte(x.z, scale.factor) << 16 | rounded_byte(x.w, scale.factor) << 24;
    }
    if (thread == 0)
      *reinterpret_cast<uint4*>(out + cache_scale_offset(args.shape)) =
          make_uint4(__float_as_uint(scale.scale), 0u, 0u, 0u);
  } else if (mine) {
    store_pair(args.shape.type, out, at, x.x, x.y);
    store_pair(args.shape.type, out, at + 2, x.z, x.w);
  }

  if (at >= rope) return;
  PairOfPairs pairs = load_pairs(kv + latent, thread, rope, args.pairs);
  if (args.bias != nullptr) {
    const PairOfPairs bias = load_pairs(args.bias + latent, thread, rope, args.pairs);
    pairs = {make_float2(pairs.first.x + bias.first.x, pairs.first.y + bias.first.y),
             make_float2(pairs.second.x + bias.second.x, pairs.second.y + bias.second.y)};
  }
  pairs = rotated(pairs, args.cos_sin + row * rope, thread);
  const float2 a = make_float2(pairs.first.x * per_unit, pairs.first.y * per_unit),
               b = make_float2(pairs.second.x * per_unit, pairs.second.y * per_unit);
  std::byte* const keys = out + cache_rope_offset(args.shape);
  if (args.pairs == RopePairs::kNeighbours) {
    store_pair(args.shape.type, keys, at, a.x, a.y);
    store_pair(args.shape.type, keys, at + 2, b.x, b.y);
  } else {
    store_pair(args.shape.type, keys, 2 * thread, a.x, b.x);
    store_pair(args.shape.type, keys, rope / 2 + 2 * thread, a.y, b.y);
  }
}

DODECA_KERNEL(copy_cache_rows, CopyCacheArgs, kCopyCacheThreads) {
  const CacheCopy copy = args.copies[blockIdx.x];
  const std::int64_t layer = blockIdx.y, n = copy.bytes / 16;
  const auto* const from = reinterpret_cast<const uint4*>(copy.from + layer * copy.from_layer);
  auto* const to = reinterpret_cast<uint4*>(copy.to + layer * copy.to_layer);
#pragma unroll 4
  for (std::int64_t i = threadIdx.x; i < n; i += kCopyCacheThreads) to[i] = from[i];
}

}  // namespace dodeca::gpu::DODECA_KERNELS
