#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/mla_decode.hpp"
#include "gpu/kernels/tensor.hpp"

namespace dodeca::gpu::DODECA_KERNELS {
namespace {

using Index = std::uint32_t;

constexpr Index kTile = kMlaTile;  // positions of one step of the matrix products
constexpr Index kStep = 16;        // columns of one
constexpr float kLog2E = 1.44269504f;

// The work of one block. Eight warps take 32 heads: the scores by head tile (2) and slice of the columns (4), the values
// by columns (8). A tile's way: fetch (memory to shared memory), land (it is there, as bf16 or f16), score, soften, add. Two
// barriers per tile: softening a tile goes beside adding the one before, and scoring beside fetching.
//
// latent, rope: 0 where only the arguments know.
template <CacheType type, Index latent, Index rope>
class MlaDecode {
 public:
  __device__ explicit MlaDecode(const MlaDecodeArgs& args)
      : args_(args),
        shared_(dynamic_shared<char>()),
        table_(args.cache.table + static_cast<std::int64_t>(args.sequences[blockIdx.z]) * args.cache.table_stride),
        warp_(threadIdx.x / 32),
        lane_(threadIdx.x % 32),
        first_head_(blockIdx.y * kHeads) {}

  __device__ void run() {
    const std::int32_t position = args_.positions[blockIdx.z];
    if (position < 0) return;
    const MlaCut cut = mla_cut(position, args_.most_chunks);
    const Index chunk = blockIdx.x;
    if (chunk >= static_cast<Index>(cut.count)) return;
    begin_ = chunk * static_cast<Index>(cut.length);
    end_ = min(begin_ + static_cast<Index>(cut.length), static_cast<Index>(position) + 1);

    fetch(0);
    load_queries();
    land(0);
    if (has_tile(1)) fetch(1);
    __syncthreads();
    score(0);
#pragma unroll 1
    for (Index tile = 0; has_tile(tile); ++tile) {
      __syncthreads();  // the scores are complete
      soften(tile);
      if (tile > 0) add(tile - 1);
      if (has_tile(tile + 1)) land(tile + 1);
      __syncthreads();  // the weights and the next tile are complete, the scores and the slot before are free
      if (has_tile(tile + 2)) fetch(tile + 2);
      if (has_tile(tile + 1)) score(tile + 1);
    }
    add((end_ - begin_ - 1) / kTile);
    write(chunk);
  }

 private:
  static constexpr bool kInt8 = type == CacheType::kInt8, kF16 = type == CacheType::kF16, kFixed = latent > 0;
  static constexpr Index kHeads = kFixed ? 64 : 32, kWarps = kHeads / 4;
  // At most: of a row, steps in which 32 lanes fetch 16 bytes each; steps of a warp's slice of the columns; pairs of 8
  // columns of a warp's values.
  static constexpr Index kPieces = (cache_row_bytes({kFixed ? latent : 512, kFixed ? rope : 128, type}) + 511) / 512;
  static constexpr Index kSteps = ((kFixed ? latent + rope : 640) / kStep + 3) / 4,
                         kPairs = (kFixed ? latent : 512) / 128;

  __device__ Index width() const { return latent_width() + rope_width(); }
  __device__ Index latent_width() const { return kFixed ? latent : static_cast<Index>(args_.shape.latent); }
  __device__ Index rope_width() const { return kFixed ? rope : static_cast<Index>(args_.shape.rope); }
  __device__ Index n_heads() const { return static_cast<Index>(args_.n_heads); }
  __device__ Index row_bytes() const {
    return static_cast<Index>(kFixed ? cache_row_bytes({latent, rope, type}) : args_.cache.row_bytes);
  }
  __device__ MlaSpace space() const { return mla_space({width(), kHeads, kInt8 ? row_bytes() : 0}); }
  __device__ bool has_tile(Index tile) const { return begin_ + tile * kTile < end_; }
  // Of the eight warps that work on the same 32 heads: which one, and the first of these heads in the block.
  __device__ Index member() const { return warp_ % 8; }
  __device__ Index half_head() const { return warp_ / 8 * 32; }
  // Whether a row has heads of the block's i-th sixteen; the kernels for a fixed shape take all for granted.
  __device__ bool has_heads(Index i) const { return kFixed || first_head_ + 16 * i < n_heads(); }
  __device__ char* slot(Index tile) const { return shared_ + tile % kMlaSlots * kTile * space().stride; }
  __device__ float* scale_of(Index tile) const {
    return reinterpret_cast<float*>(shared_ + space().scales) + tile % 2 * kTile;
  }

  // Two floats as the tensor cores take them, and their product.
  __device__ static std::uint32_t pack(float low, float high) {
    if constexpr (kF16) return f32_to_f16(low) | static_cast<std::uint32_t>(f32_to_f16(high)) << 16;
    return pack_bf16(low, high);
  }
  __device__ static void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
    if constexpr (kF16)
      mma_f16(c, a, b0, b1);
    else
      mma_bf16(c, a, b0, b1);
  }

  // The lane's queries: of the s-th step of the warp's slice, register r of the fragment.
  __device__ float2 load_query(Index s, Index r) const {
    const Index step = member() / 2 + 4 * s,
                head = first_head_ + half_head() + member() % 2 * 16 + lane_ / 4 + r % 2 * 8;
    if (step * kStep >= width() || head >= n_heads()) return make_float2(0.0f, 0.0f);
    return *reinterpret_cast<const float2*>(args_.queries +
                                            (static_cast<std::int64_t>(blockIdx.z) * args_.n_heads + head) * width() +
                                            step * kStep + r / 2 * 8 + 2 * (lane_ % 4));
  }
  __device__ void load_queries() {
    float factor[2] = {1.0f, 1.0f};
    if constexpr (kF16) {
      scale_queries(factor);
      __syncwarp();  // loads them again, rather than keeping all in registers
    }
#pragma unroll
    for (Index s = 0; s < kSteps; ++s) {
#pragma unroll
      for (Index r = 0; r < 4; ++r) {
        const float2 q = load_query(s, r);
        query_[s][r] = pack(q.x * factor[r % 2], q.y * factor[r % 2]);
      }
    }
  }
  // Powers of two with which this slice of the lane's two heads fits F16: the largest becomes 2^14 and more, below 2^15.
  // Scores are multiplied with their inverses.
  __device__ void scale_queries(float (&factor)[2]) const {
    std::uint32_t largest[2] = {0, 0};
#pragma unroll
    for (Index s = 0; s < kSteps; ++s) {
#pragma unroll
      for (Index r = 0; r < 4; ++r) {
        const float2 q = load_query(s, r);
        largest[r % 2] = max(largest[r % 2], max(__float_as_uint(fabsf(q.x)), __float_as_uint(fabsf(q.y))));
      }
    }
#pragma unroll
    for (Index r = 0; r < 2; ++r) {
      largest[r] = max(largest[r], __shfl_xor_sync(~0u, largest[r], 1));
      largest[r] = max(largest[r], __shfl_xor_sync(~0u, largest[r], 2));
      const std::uint32_t exponent = min(max(largest[r] >> 23, 15u), 253u);  // both powers are normal numbers
      factor[r] = __uint_as_float((268u - exponent) << 23);
      if (lane_ % 4 == 0) query_scales()[8 * r] = __uint_as_float((exponent - 14u) << 23);
    }
  }
  // Of the lane's first head; the second one's is 8 further.
  __device__ float* query_scales() const {
    return reinterpret_cast<float*>(shared_ + space().queries) + member() / 2 * kHeads + half_head() +
           member() % 2 * 16 + lane_ / 4;
  }

  // Starts the copy of a tile; rows behind the end become zeros.
  __device__ void fetch(Index tile) const {
    const Index position = begin_ + tile * kTile;
    const std::int32_t block = __ldg(table_ + position / kCacheBlock);
    const std::byte* const rows =
        args_.cache.rows + (static_cast<std::int64_t>(block) * kCacheBlock + position % kCacheBlock) * row_bytes();
    char* const to = kInt8 ? shared_ + space().raw : slot(tile);
    const Index stride = kInt8 ? row_bytes() : space().stride;
    for_own_pieces([&](Index row, Index byte) {
      cp_async<16>(to + (row * stride + byte), rows + (row * row_bytes() + byte), position + row < end_);
    });
    cp_async_commit();
  }

  // Waits for what this thread has fetched, and makes bf16 of it; the others see it behind a barrier.
  __device__ void land(Index tile) const {
    cp_async_wait<0>();
    if constexpr (kInt8) {
      for_own_pieces([&](Index row, Index byte) {
        char* const to = slot(tile) + row * space().stride;
        const uint4 raw = *reinterpret_cast<const uint4*>(shared_ + space().raw + row * row_bytes() + byte);
        if (byte < latent_width())
          widen(raw, reinterpret_cast<uint4*>(to + 2 * byte));
        else if (byte < latent_width() + 2 * rope_width())
          *reinterpret_cast<uint4*>(to + latent_width() + byte) = raw;
        else
          scale_of(tile)[row] = __uint_as_float(raw.x);
      });
    }
  }
  // f(row of the tile, byte of the row) for the pieces of 16 bytes that this thread fetches: of a warp, rows of its own.
  template <class F>
  __device__ void for_own_pieces(const F& f) const {
#pragma unroll
    for (Index r = 0; r < kTile / kWarps; ++r) {
#pragma unroll
      for (Index piece = 0; piece < kPieces; ++piece) {
        const Index byte = 16 * (32 * piece + lane_);
        if (byte < row_bytes()) f(warp_ + r * kWarps, byte);
      }
    }
  }

  // Sixteen bytes as bf16: 2^23 + 128 + q has q + 128 in its lowest byte.
  __device__ static void widen(const uint4& raw, uint4* to) {
    to[0] = make_uint4(widen_pair(raw.x, 0), widen_pair(raw.x, 2), widen_pair(raw.y, 0), widen_pair(raw.y, 2));
    to[1] = make_uint4(widen_pair(raw.z, 0), widen_pair(raw.z, 2), widen_pair(raw.w, 0), widen_pair(raw.w, 2));
  }
  __device__ static std::uint32_t widen_pair(std::uint32_t bytes, std::uint32_t first) {
    const std::uint32_t plus_128 = bytes ^ 0x80808080u;
    const float low = __uint_as_float(__byte_perm(plus_128, 0x4b000000u, 0x7440u | first)) - 8388736.0f,
                high = __uint_as_float(__byte_perm(plus_128, 0x4b000000u, 0x7441u | first)) - 8388736.0f;
    return __byte_perm(__float_as_uint(low), __float_as_uint(high), 0x7632u);  // exact: 8 bits are enough
  }

  // The scores of a tile over this warp's slice of the columns: 16 heads x 16 positions.
  __device__ void score(Index tile) const {
    if (!has_heads(half_head() / 16 + member() % 2)) return;
    float sum[2][4] = {};
    const char* const rows = slot(tile) + (lane_ % 8 + lane_ / 16 * 8) * space().stride + lane_ / 8 % 2 * 16;
#pragma unroll
    for (Index s = 0; s < kSteps; ++s) {
      const Index step = member() / 2 + 4 * s;
      if (step * kStep >= width()) break;
      std::uint32_t keys[4];
      ldmatrix_x4(keys, rows + step * kStep * 2);
      multiply(sum[0], query_[s], keys[0], keys[1]);
      multiply(sum[1], query_[s], keys[2], keys[3]);
    }
    // Pairs of positions lie crosswise in every second pair of heads: no bank conflicts.
    const Index head = half_head() + member() % 2 * 16 + lane_ / 4;
    const bool crossed = head / 2 % 2 != 0;
    float2* const to = scores_of(member() / 2, head) + lane_ % 4;
#pragma unroll
    for (Index r = 0; r < 2; ++r) {
      const float scale = kF16 ? query_scales()[8 * r] : 1.0f;
      const float2 first = make_float2(sum[0][2 * r] * scale, sum[0][2 * r + 1] * scale),
                   second = make_float2(sum[1][2 * r] * scale, sum[1][2 * r + 1] * scale);
      to[8 * r * kTile / 2] = crossed ? second : first;
      to[8 * r * kTile / 2 + 4] = crossed ? first : second;
    }
  }

  // A head's scores from one slice of the columns, two positions at a time.
  __device__ float2* scores_of(Index slice, Index head) const {
    return reinterpret_cast<float2*>(shared_ + space().scores) + (slice * kHeads + head) * (kTile / 2);
  }
  __device__ char* weights_of(Index tile) const {
    return shared_ + space().weights + tile % 2 * kHeads * kMlaWeightStride;
  }
  __device__ float* corrections_of(Index tile) const {
    return reinterpret_cast<float*>(shared_ + space().corrections) + tile % 2 * kHeads;
  }

  // Scores to weights: eight threads for a head, two positions each.
  __device__ void soften(Index tile) {
    const Index head = threadIdx.x / 8, pair = threadIdx.x % 8, position = begin_ + tile * kTile + 2 * pair;
    if (!has_heads(head / 16)) return;
    const float2* const scores = scores_of(0, head) + (pair ^ (head / 2 % 2 * 4));
    constexpr Index kSlice = kHeads * kTile / 2;
    const float2 a = scores[0], b = scores[kSlice], c = scores[2 * kSlice], d = scores[3 * kSlice];
    float scale[2] = {1.0f, 1.0f};
    if constexpr (kInt8) {
      scale[0] = scale_of(tile)[2 * pair];
      scale[1] = scale_of(tile)[2 * pair + 1];
    }
    const float factor = args_.scale * kLog2E;
    const float low = position < end_ ? (a.x + b.x + (c.x + d.x)) * (factor * scale[0]) : -INFINITY,
                high = position + 1 < end_ ? (a.y + b.y + (c.y + d.y)) * (factor * scale[1]) : -INFINITY;
    float max = fmaxf(max_, fmaxf(low, high));
#pragma unroll
    for (int distance = 4; distance > 0; distance /= 2) max = fmaxf(max, __shfl_xor_sync(~0u, max, distance));
    // F16 weights are 2^15 times as large, sums and results with them: small ones keep their digits.
    const float unit = kF16 ? 32768.0f : 1.0f;
    const float correction = exp2f(max_ - max), p = exp2f(low - max) * unit, q = exp2f(high - max) * unit;
    const std::uint32_t weights = pack(p * scale[0], q * scale[1]);
    *reinterpret_cast<std::uint32_t*>(weights_of(tile) + head * kMlaWeightStride + 4 * pair) = weights;
    if (pair == 0) corrections_of(tile)[head] = correction;
    max_ = max;
    sum_ = fmaf(sum_, correction, kInt8 ? p + q : unpacked_sum(weights));
  }
  // The sum is that of the weights as they are multiplied, where they are not scaled.
  __device__ static float unpacked_sum(std::uint32_t pair) {
    if constexpr (kF16)
      return f16_to_f32(static_cast<std::uint16_t>(pair)) + f16_to_f32(static_cast<std::uint16_t>(pair >> 16));
    return __uint_as_float(pair << 16) + __uint_as_float(pair & 0xffff0000u);
  }

  // Weights times values, for 32 heads and this warp's columns.
  __device__ void add(Index tile) {
    const Index sixteens = has_heads(half_head() / 16 + 1) ? 2 : 1;  // the first are there
    const float* const corrections = corrections_of(tile) + half_head() + lane_ / 4;
    float correction[4];
    bool changed = false;
#pragma unroll
    for (Index i = 0; i < 4; ++i) {
      if (i / 2 == sixteens) break;
      correction[i] = corrections[8 * i];
      changed |= correction[i] != 1.0f;
    }
    if (__any_sync(~0u, changed)) {
#pragma unroll
      for (Index i = 0; i < 2 * kPairs; ++i) {
#pragma unroll
        for (Index j = 0; j < 2; ++j) {
          if (j == sixteens) break;
#pragma unroll
          for (Index r = 0; r < 4; ++r) acc_[j][i][r] *= correction[2 * j + r / 2];
        }
      }
    }
    std::uint32_t weights[2][4];
#pragma unroll
    for (Index j = 0; j < 2; ++j) {
      if (j == sixteens) break;
      ldmatrix_x4(weights[j],
                  weights_of(tile) + (half_head() + 16 * j + lane_ % 16) * kMlaWeightStride + lane_ / 16 * 16);
    }
    const char* const rows = slot(tile) + lane_ % 16 * space().stride + lane_ / 16 * 16;
#pragma unroll
    for (Index i = 0; i < kPairs; ++i) {
      const Index column = (member() + 8 * i) * 16;
      if (column >= latent_width()) break;
      std::uint32_t values[4];
      ldmatrix_x4_trans(values, rows + column * 2);
#pragma unroll
      for (Index j = 0; j < 2; ++j) {
        if (j == sixteens) break;
        multiply(acc_[j][2 * i], weights[j], values[0], values[1]);
        multiply(acc_[j][2 * i + 1], weights[j], values[2], values[3]);
      }
    }
  }

  __device__ void write(Index chunk) {
    const std::int64_t first = (static_cast<std::int64_t>(blockIdx.z) * args_.most_chunks + chunk) * args_.n_heads;
#pragma unroll
    for (int distance = 4; distance > 0; distance /= 2) sum_ += __shfl_xor_sync(~0u, sum_, distance);
    const Index own_head = first_head_ + threadIdx.x / 8;
    if (threadIdx.x % 8 == 0 && own_head < n_heads()) {
      args_.partials.max[first + own_head] = max_;
      args_.partials.sum[first + own_head] = sum_;
    }
#pragma unroll
    for (Index j = 0; j < 2; ++j) {
#pragma unroll
      for (Index r = 0; r < 2; ++r) {
        const Index head = first_head_ + half_head() + 16 * j + 8 * r + lane_ / 4;
        if (head >= n_heads()) continue;
        float* const out = args_.partials.acc + (first + head) * latent_width() + 2 * (lane_ % 4);
#pragma unroll
        for (Index i = 0; i < kPairs; ++i) {
          const Index column = (member() + 8 * i) * 16;
          if (column >= latent_width()) break;
          *reinterpret_cast<float2*>(out + column) = make_float2(acc_[j][2 * i][2 * r], acc_[j][2 * i][2 * r + 1]);
          *reinterpret_cast<float2*>(out + column + 8) =
              make_float2(acc_[j][2 * i + 1][2 * r], acc_[j][2 * i + 1][2 * r + 1]);
        }
      }
    }
  }

  const MlaDecodeArgs& args_;
  char* const shared_;
  const std::int32_t* const table_;  // of the row's sequence
  const Index warp_, lane_;
  const Index first_head_;     // of the block
  Index begin_ = 0, end_ = 0;  // positions of the chunk
  std::uint32_t query_[kSteps][4];
  float acc_[2][2 * kPairs][4] = {};    // of head tile j, 8 columns i: the fragment of mma
  float max_ = -INFINITY, sum_ = 0.0f;  // of the head that this thread softens; the sum is of its positions alone
};

}  // namespace

DODECA_KERNEL(mla_decode_bf16, MlaDecodeArgs, 256) { MlaDecode<CacheType::kBf16, 0, 0>(args).run(); }
DODECA_KERNEL(mla_decode_f16, MlaDecodeArgs, 256) { MlaDecode<CacheType::kF16, 0, 0>(args).run(); }
DODECA_KERNEL(mla_decode_int8, MlaDecodeArgs, 256) { MlaDecode<CacheType::kInt8, 0, 0>(args).run(); }
DODECA_KERNEL(mla_decode_bf16_512_64, MlaDecodeArgs, 512) { MlaDecode<CacheType::kBf16, 512, 64>(args).run(); }
DODECA_KERNEL(mla_decode_f16_512_64, MlaDecodeArgs, 512) { MlaDecode<CacheType::kF16, 512, 64>(args).run(); }
DODECA_KERNEL(mla_decode_int8_512_64, MlaDecodeArgs, 512) { MlaDecode<CacheType::kInt8, 512, 64>(args).run(); }

DODECA_KERNEL(mla_merge, MlaMergeArgs, kMlaMergeThreads) {
  const std::int64_t row = blockIdx.y;
  const auto head = static_cast<int>(blockIdx.x), lane = static_cast<int>(threadIdx.x) % 32;
  const std::int32_t position = args.positions[row];
  if (position < 0) return;
  const int count = mla_cut(position, args.most_chunks).count;
  const std::int64_t first = row * args.most_chunks * args.n_heads + head;
  float max = -INFINITY;
  for (int c = lane; c < count; c += 32) max = fmaxf(max, __ldg(args.partials.max + first + c * args.n_heads));
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) max = fmaxf(max, __shfl_xor_sync(~0u, max, distance));
  const int column = static_cast<int>(threadIdx.x) * 4;
  if (column >= args.latent) return;
  float sum = 0.0f;
  float4 acc = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 8  // so many loads on their way
  for (int c = 0; c < count; ++c) {
    const std::int64_t at = first + c * args.n_heads;
    const float4 part = __ldg(reinterpret_cast<const float4*>(args.partials.acc + at * args.latent + column));
    const float factor = exp2f(__ldg(args.partials.max + at) - max);
    sum = fmaf(__ldg(args.partials.sum + at), factor, sum);
    acc.x = fmaf(part.x, factor, acc.x);
    acc.y = fmaf(part.y, factor, acc.y);
    acc.z = fmaf(part.z, factor, acc.z);
    acc.w = fmaf(part.w, factor, acc.w);
  }
  const float inverse = 1.0f / sum;
  *reinterpret_cast<float4*>(args.out + (row * args.n_heads + head) * args.latent + column) =
      make_float4(acc.x * inverse, acc.y * inverse, acc.z * inverse, acc.w * inverse);
}

}  // namespace dodeca::gpu::DODECA_KERNELS
