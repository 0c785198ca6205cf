// mla_decode: latent attention of generated rows in absorbed form (DeepSeek-V2 paper, section 2.1.2 and appendix C). All
// heads of a query row see the same cache row [latent | rope]; the value is the row's latent part:
//   score[h][p] = scale * dot(query[h], row[p]),  result[h] = sum over p <= position of softmax(score[h])[p] * latent[p]
//
// On tensor cores the heads are the rows of a matrix product (mma m16n8k16: sums in float32). A cache of F16 is multiplied
// in F16, all others in BF16: queries and softmax weights are rounded to that type (F16: scaled by powers of two, so that
// neither what is large nor what is small leaves its range); an int8 cache is multiplied as the integers that it holds. A
// block takes 32 or 64 heads of a row and one chunk of its context. In F32 arithmetic (the reference route) nothing is
// rounded; a warp takes a head, without tensor cores. mla_merge adds the chunks, in ascending order.
//
// How the context is cut follows from the row's own position and `most_chunks`, so a row's bits do not depend on its
// companions, nor on the blocks in which its cache rows lie.
//
// One launch, per row with n positions seen (n = position + 1), h heads, width = latent + rope:
//   operations  2 n h (width + latent)
//   bytes       n * row bytes from memory, once, and from the L2 for every block of heads; h * 4 * width of queries
// Partial results are written here and read by mla_merge: chunks * h * 4 * (latent + 2) bytes each way.
#pragma once

#include <cstdint>

#include "gpu/kernels/cache_rows.hpp"
#include "gpu/kernels/grid.hpp"
#include "gpu/kernels/kernel_id.hpp"

namespace dodeca::gpu {

// Per row, chunk and head: the largest score (times log2 e), the sum of 2^(score - max), the sum of that times values;
// the two sums in a unit that is the same in all chunks.
struct MlaPartials {
  float* max;  // [n_rows, most_chunks, n_heads]
  float* sum;  // [n_rows, most_chunks, n_heads]
  float* acc;  // [n_rows, most_chunks, n_heads, latent], 16 bytes aligned
};

enum class MlaArithmetic : std::int32_t { kTensor, kF32 };

struct MlaDecodeArgs {
  const float* queries;           // [n_rows, n_heads, latent + rope] absorbed, 8 bytes aligned
  const std::int32_t* sequences;  // [n_rows]
  const std::int32_t* positions;  // [n_rows]; below 0: a row that is not there, nothing is done
  CacheBlocks cache;
  CacheShape shape;  // of type F32: in F32 arithmetic only
  MlaArithmetic arithmetic;
  MlaPartials partials;
  float scale;  // of the scores
  std::int32_t n_rows, n_heads;
  std::int32_t most_chunks;  // at least 1, the same for every launch of a model
};

struct MlaMergeArgs {
  MlaPartials partials;
  const std::int32_t* positions;  // [n_rows]; below 0: nothing is written
  float* out;                     // [n_rows, n_heads, latent], 16 bytes aligned
  std::int32_t n_rows, n_heads, latent;
  std::int32_t most_chunks;
};

// How the context of a row is cut: `count` chunks of `length` positions (whole cache blocks), the last one shorter.
struct MlaCut {
  std::int32_t length, count;
};
constexpr MlaCut mla_cut(std::int32_t position, std::int32_t most_chunks) {
  const std::int32_t n = position + 1, share = (n + most_chunks - 1) / most_chunks,
                     length = (share + kCacheBlock - 1) / kCacheBlock * kCacheBlock;
  return {length, (n + length - 1) / length};
}

inline constexpr std::uint32_t kMlaMergeThreads = 128;

// Which kernel: mla_decode_<type>_512_64 for that shape and more than 32 heads, in blocks of 64 heads and 512 threads;
// mla_decode_<type> for all others, in blocks of 32 heads and 256 threads; mla_decode_f32 in blocks of 8 heads.
inline KernelId mla_decode_kernel(const MlaDecodeArgs& args) {
  if (args.arithmetic == MlaArithmetic::kF32) return KernelId::mla_decode_f32;
  const bool wide = args.shape.latent == 512 && args.shape.rope == 64 && args.n_heads > 32;
  switch (args.shape.type) {
    case CacheType::kInt8:
      return wide ? KernelId::mla_decode_int8_512_64 : KernelId::mla_decode_int8;
    case CacheType::kF16:
      return wide ? KernelId::mla_decode_f16_512_64 : KernelId::mla_decode_f16;
    default:
      return wide ? KernelId::mla_decode_bf16_512_64 : KernelId::mla_decode_bf16;
  }
}
inline std::uint32_t mla_heads_per_block(KernelId kernel) {
  if (kernel == KernelId::mla_decode_f32) return 8;
  return kernel == KernelId::mla_decode_bf16_512_64 || kernel == KernelId::mla_decode_f16_512_64 ||
                 kernel == KernelId::mla_decode_int8_512_64
             ? 64
             : 32;
}
inline std::uint32_t mla_head_blocks(const MlaDecodeArgs& args) {
  const std::uint32_t heads = mla_heads_per_block(mla_decode_kernel(args));
  return (static_cast<std::uint32_t>(args.n_heads) + heads - 1) / heads;
}
// Chunks with which one row of a long context fills a card of so many multiprocessors, and no more than a context of
// n_positions is cut into, which changes no cut.
inline std::int32_t mla_most_chunks(const MlaDecodeArgs& args, std::int32_t multiprocessors, std::int64_t n_positions) {
  const std::int64_t fill = multiprocessors / static_cast<std::int32_t>(mla_head_blocks(args)),
                     blocks = (n_positions + kCacheBlock - 1) / kCacheBlock, chunks = fill < blocks ? fill : blocks;
  return static_cast<std::int32_t>(chunks < 1 ? 1 : chunks);
}
// Floats of max and sum each; those of acc are `latent` times as many.
inline std::int64_t mla_partials(const MlaDecodeArgs& args) {
  return static_cast<std::int64_t>(args.n_rows) * args.most_chunks * args.n_heads;
}

// Of one row that sees position + 1 positions; bytes from memory, partial results not counted.
inline std::uint64_t mla_decode_operations(const MlaDecodeArgs& args, std::int32_t position) {
  return 2 * (static_cast<std::uint64_t>(position) + 1) * static_cast<std::uint64_t>(args.n_heads) *
         static_cast<std::uint64_t>(2 * args.shape.latent + args.shape.rope);
}
inline std::uint64_t mla_decode_bytes(const MlaDecodeArgs& args, std::int32_t position) {
  return (static_cast<std::uint64_t>(position) + 1) * static_cast<std::uint64_t>(args.cache.row_bytes) +
         4 * static_cast<std::uint64_t>(args.n_heads) * static_cast<std::uint64_t>(args.shape.latent + args.shape.rope);
}

// Where the parts of a block's shared memory begin, in bytes.
struct MlaSpace {
  std::uint32_t stride, scores, weights, corrections, scales, queries, raw, total;
};
struct MlaSpaceFor {
  std::uint32_t width, heads, raw_row_bytes;  // the last: of an int8 cache, 0 of others
};
inline constexpr std::uint32_t kMlaTile = 16;   // positions that are multiplied at a time
inline constexpr std::uint32_t kMlaSlots = 3;   // tiles in shared memory
inline constexpr std::uint32_t kMlaSlices = 4;  // of the dot products' columns, each one warp's
inline constexpr std::uint32_t kMlaWeightStride =
    48;  // bytes from head to head: 16 bf16, and 16 against bank conflicts
constexpr MlaSpace mla_space(const MlaSpaceFor& of) {
  MlaSpace at{};
  at.stride = 2 * of.width + 16;  // an odd number of 16 bytes: ldmatrix has no bank conflicts
  at.scores = kMlaSlots * kMlaTile * at.stride;
  at.weights = at.scores + kMlaSlices * of.heads * kMlaTile * 4;
  at.corrections = at.weights + 2 * of.heads * kMlaWeightStride;
  at.scales = at.corrections + 2 * of.heads * 4;
  at.queries = at.scales + 2 * kMlaTile * 4;
  at.raw = at.queries + kMlaSlices * of.heads * 4;
  at.total = at.raw + kMlaTile * of.raw_row_bytes;
  return at;
}

inline Grid mla_decode_grid(const MlaDecodeArgs& args) {
  const std::uint32_t heads = mla_heads_per_block(mla_decode_kernel(args)),
                      width = static_cast<std::uint32_t>(args.shape.latent + args.shape.rope);
  const bool f32 = args.arithmetic == MlaArithmetic::kF32;
  const std::uint32_t raw = args.shape.type == CacheType::kInt8 ? static_cast<std::uint32_t>(args.cache.row_bytes) : 0;
  return {.blocks_x = static_cast<std::uint32_t>(args.most_chunks),
          .blocks_y = mla_head_blocks(args),
          .blocks_z = static_cast<std::uint32_t>(args.n_rows),
          .threads = heads * (f32 ? 32 : 8),
          .shared_bytes = f32 ? 0 : mla_space({width, heads, raw}).total};
}
inline Grid mla_merge_grid(const MlaMergeArgs& args) {
  return {.blocks_x = static_cast<std::uint32_t>(args.n_heads),
          .blocks_y = static_cast<std::uint32_t>(args.n_rows),
          .threads = kMlaMergeThreads};
}

}  // namespace dodeca::gpu
