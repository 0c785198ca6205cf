#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/halves.cuh"
#include "gpu/kernels/halves.hpp"
#include "gpu/kernels/rotate.cuh"

namespace dodeca::gpu::DODECA_KERNELS {
namespace {

__device__ float byte_at(std::uint32_t word, int i) {
  return static_cast<float>(static_cast<std::int8_t>(word >> 8 * i & 255u));
}

// 64 rows of a times 64 rows of b; each of four warps has 16 rows of a. 64 columns at a time come to shared memory, the
// next ones while these are multiplied.
template <bool f16>
class MultiplyHalves {
 public:
  __device__ explicit MultiplyHalves(const MultiplyHalvesArgs& args, std::uint32_t* shared)
      : args_(args),
        shared_(shared),
        thread_(static_cast<int>(threadIdx.x)),
        lane_(thread_ % 32),
        warp_(thread_ / 32),
        first_m_(static_cast<std::int64_t>(blockIdx.y) * kHalvesTile),
        first_n_(static_cast<std::int64_t>(blockIdx.x) * kHalvesTile) {}

  __device__ void run() {
    const int n_steps = (args_.k + kColumns - 1) / kColumns;
    fetch(0);
    for (int step = 0; step < n_steps; ++step) {
      cp_async_wait<0>();
      __syncthreads();  // the step's columns are there, and those before it are done
      if (step + 1 < n_steps) fetch(step + 1);
      multiply(step, min(kColumns, args_.k - step * kColumns));
    }
    store();
  }

  static constexpr int kColumns = 64, kStride = kColumns / 2 + 4;  // words of a row: 16 bytes more than its columns
  static constexpr int kWords = 2 * 2 * kHalvesTile * kStride;     // two steps of both

 private:
  __device__ std::uint32_t* tile(int step, int which) const {
    return shared_ + (step % 2 * 2 + which) * kHalvesTile * kStride;
  }
  __device__ void fetch(int step) {
    constexpr int kPieces = kColumns / 8;  // of 16 bytes
    for (int i = thread_; i < 2 * kHalvesTile * kPieces; i += static_cast<int>(kHalvesThreads)) {
      const int which = i / (kHalvesTile * kPieces), row = i / kPieces % kHalvesTile, piece = i % kPieces,
                column = step * kColumns + 8 * piece;
      const std::int64_t at = (which == 0 ? first_m_ : first_n_) + row;
      const bool there = at < (which == 0 ? args_.m : args_.n) && column < args_.k;
      const std::uint16_t* const from =
          which == 0 ? args_.a + at * args_.a_stride + column : args_.b + at * args_.b_stride + column;
      cp_async<16>(tile(step, which) + row * kStride + 4 * piece, there ? from : args_.a, there);
    }
    cp_async_commit();
  }
  __device__ void multiply(int step, int n_columns) {
    const std::uint32_t *const a = tile(step, 0), *const b = tile(step, 1);
    const int row = lane_ % 8, matrix = lane_ / 8;
    for (int k = 0; k < n_columns; k += 16) {
      std::uint32_t rows[4];
      ldmatrix_x4(rows, a + (16 * warp_ + matrix % 2 * 8 + row) * kStride + k / 2 + matrix / 2 * 4);
#pragma unroll
      for (int pair = 0; pair < 4; ++pair) {
        std::uint32_t columns[4];
        ldmatrix_x4(columns, b + (16 * pair + matrix / 2 * 8 + row) * kStride + k / 2 + matrix % 2 * 4);
        Halves<f16>::multiply(acc_[2 * pair], rows, columns[0], columns[1]);
        Halves<f16>::multiply(acc_[2 * pair + 1], rows, columns[2], columns[3]);
      }
    }
  }
  __device__ void store() const {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const std::int64_t n = first_n_ + 8 * i + 2 * (lane_ % 4);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const std::int64_t m = first_m_ + 16 * warp_ + 8 * r + lane_ / 4;
        if (m < args_.m && n < args_.n)
          *reinterpret_cast<std::uint32_t*>(args_.c + m * args_.c_stride + n) =
              Halves<f16>::pack(acc_[i][2 * r], acc_[i][2 * r + 1]);
      }
    }
  }

  const MultiplyHalvesArgs& args_;
  std::uint32_t* const shared_;
  const int thread_, lane_, warp_;
  const std::int64_t first_m_, first_n_;
  float acc_[8][4] = {};
};

}  // namespace

DODECA_KERNEL(multiply_halves_f16, MultiplyHalvesArgs, kHalvesThreads) {
  DODECA_SHARED(uint4, shared, [MultiplyHalves<true>::kWords / 4]);
  MultiplyHalves<true>(args, reinterpret_cast<std::uint32_t*>(shared)).run();
}
DODECA_KERNEL(multiply_halves_bf16, MultiplyHalvesArgs, kHalvesThreads) {
  DODECA_SHARED(uint4, shared, [MultiplyHalves<false>::kWords / 4]);
  MultiplyHalves<false>(args, reinterpret_cast<std::uint32_t*>(shared)).run();
}

DODECA_KERNEL(gather_cache_rows, GatherCacheArgs, kHalvesThreads) {
  const auto position = static_cast<std::int64_t>(blockIdx.x);
  const std::int32_t block =
      args.cache.table[static_cast<std::int64_t>(args.sequence) * args.cache.table_stride + position / kCacheBlock];
  const std::byte* const row = args.cache.rows + cache_row_offset(block, position, args.cache.row_bytes);
  const std::int32_t latent = args.shape.latent, width = latent + args.shape.rope;
  auto* const out = reinterpret_cast<uint2*>(args.out + position * width);
  // Four values at a time.
  for (std::int32_t i = static_cast<std::int32_t>(threadIdx.x); i < width / 4;
       i += static_cast<std::int32_t>(kHalvesThreads)) {
    if (args.shape.type != CacheType::kInt8) {
      out[i] = reinterpret_cast<const uint2*>(row)[i];
      continue;
    }
    const float scale = *reinterpret_cast<const float*>(row + cache_scale_offset(args.shape));
    float x[4];
    if (4 * i < latent) {
      const std::uint32_t bytes = reinterpret_cast<const std::uint32_t*>(row)[i];
#pragma unroll
      for (int j = 0; j < 4; ++j) x[j] = scale * byte_at(bytes, j);
    } else {
      const uint2 pairs = reinterpret_cast<const uint2*>(row + cache_rope_offset(args.shape))[i - latent / 4];
      const float2 low = Halves<false>::unpack(pairs.x), high = Halves<false>::unpack(pairs.y);
      x[0] = scale * low.x;
      x[1] = scale * low.y;
      x[2] = scale * high.x;
      x[3] = scale * high.y;
    }
    const bool f16 = args.type == HalfType::kF16;
    out[i] = make_uint2(pack_halves(f16, x[0], x[1]), pack_halves(f16, x[2], x[3]));
  }
}

DODECA_KERNEL(pack_queries, PackQueriesArgs, kHalvesThreads) {
  const auto quad = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  const std::int32_t width = args.nope + args.rope, head = quad / (width / 4), i = quad % (width / 4);
  if (head >= args.n_heads) return;
  const std::int64_t row = blockIdx.y;
  const float* const in = args.queries + (row * args.n_heads + head) * width;
  std::uint16_t* const out = args.out + row * args.out_stride + head * width;
  const bool f16 = args.type == HalfType::kF16;
  const float factor = args.factor;
  if (4 * i < args.nope) {
    const float4 x = *reinterpret_cast<const float4*>(in + 4 * i);
    *reinterpret_cast<uint2*>(out + 4 * i) =
        make_uint2(pack_halves(f16, x.x * factor, x.y * factor), pack_halves(f16, x.z * factor, x.w * factor));
    return;
  }
  const std::int32_t at = i - args.nope / 4;
  const PairOfPairs pairs =
      rotated(load_pairs(in + args.nope, at, args.rope, args.pairs), args.cos_sin + row * args.rope, at);
  std::uint16_t* const to = out + args.nope;
  if (args.pairs == RopePairs::kNeighbours) {
    *reinterpret_cast<uint2*>(to + 4 * at) =
        make_uint2(pack_halves(f16, pairs.first.x * factor, pairs.first.y * factor),
                   pack_halves(f16, pairs.second.x * factor, pairs.second.y * factor));
    return;
  }
  *reinterpret_cast<std::uint32_t*>(to + 2 * at) = pack_halves(f16, pairs.first.x * factor, pairs.second.x * factor);
  *reinterpret_cast<std::uint32_t*>(to + args.rope / 2 + 2 * at) =
      pack_halves(f16, pairs.first.y * factor, pairs.second.y * factor);
}

DODECA_KERNEL(widen_rows, WidenRowsArgs, kHalvesThreads) {
  const auto pair = static_cast<std::int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  const std::int32_t per_group = args.width / 2, group = pair / per_group, i = pair % per_group;
  if (group >= args.n_groups) return;
  const std::int64_t row = blockIdx.y;
  const std::uint32_t bits =
      *reinterpret_cast<const std::uint32_t*>(args.in + row * args.in_stride + group * args.group_stride + 2 * i);
  *reinterpret_cast<float2*>(args.out + row * args.out_stride + static_cast<std::int64_t>(group) * args.width + 2 * i) =
      args.type == HalfType::kF16 ? Halves<true>::unpack(bits) : Halves<false>::unpack(bits);
}

}  // namespace dodeca::gpu::DODECA_KERNELS
