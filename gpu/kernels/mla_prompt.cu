#include "gpu/kernels/dialect.hpp"
#include "gpu/kernels/halves.cuh"
#include "gpu/kernels/mla_prompt.hpp"

namespace dodeca::gpu::DODECA_KERNELS {
namespace {

// Each of four warps has 16 rows: their queries and results in registers, keys and values of 32 positions in shared
// memory, the next ones on their way.
//
// most_key, most_value: numbers of a head at most.
template <bool f16, int most_key, int most_value>
class MlaPrompt {
 public:
  __device__ explicit MlaPrompt(const MlaPromptArgs& args)
      : args_(args),
        shared_(dynamic_shared<char>()),
        thread_(static_cast<int>(threadIdx.x)),
        lane_(thread_ % 32),
        // The last rows have the longest contexts: they begin first.
        first_(static_cast<std::int64_t>(gridDim.x - 1 - blockIdx.x) * kMlaPromptRows),
        own_(first_ + thread_ / 32 * 16 + lane_ / 4),
        head_(static_cast<std::int64_t>(blockIdx.y)) {}

  __device__ void run() {
    std::int32_t last = -1;
    for (int i = 0; i < kMlaPromptRows; ++i) last = max(last, position_of(first_ + i));
    if (last < 0) return;
    position_[0] = position_of(own_);
    position_[1] = position_of(own_ + 8);
    const int n_tiles = last / kTile + 1;
    n_positions_ = last + 1;
    fetch(0);
    load_queries();
    for (int tile = 0; tile < n_tiles; ++tile) {
      cp_async_wait<0>();
      __syncthreads();  // the tile is there, and the one before is done
      if (tile + 1 < n_tiles) fetch(tile + 1);
      float scores[kTile / 8][4];
      score(tile, scores);
      std::uint32_t weights[kTile / 16][4];
      soften(scores, weights);
      add(tile, weights);
    }
    write();
  }

 private:
  static constexpr int kTile = kMlaPromptTile, kSteps = most_key / 16, kValues = most_value / 16;
  // F16 weights are so many times as large.
  static constexpr float kUnitLog2 = f16 ? 15.0f : 0.0f;

  __device__ int key_width() const { return args_.nope + args_.rope; }
  __device__ std::int32_t position_of(std::int64_t row) const { return row < args_.n_rows ? args_.positions[row] : -1; }
  __device__ int key_stride() const { return mla_prompt_stride(key_width()); }
  __device__ int value_stride() const { return mla_prompt_stride(args_.value); }
  __device__ char* keys(int tile) const { return shared_ + tile % 2 * kTile * (key_stride() + value_stride()); }
  __device__ char* values(int tile) const { return keys(tile) + kTile * key_stride(); }
  __device__ std::uint16_t* query(std::int64_t row) const {
    return args_.queries + row * args_.query_stride + head_ * key_width();
  }

  // 16 bytes at a time; zeros behind the last position.
  __device__ void fetch(int tile) const {
    const int nope = args_.nope / 8, key = key_width() / 8, all = key + args_.value / 8;
    for (int i = thread_; i < kTile * all; i += static_cast<int>(kMlaPromptThreads)) {
      const int row = i / all, piece = i % all;
      const std::int64_t position = tile * kTile + row;
      const bool there = position < n_positions_;
      const std::uint16_t* const own = args_.keys + position * args_.key_stride + head_ * (args_.nope + args_.value);
      const std::uint16_t* const from = piece < nope  ? own + 8 * piece
                                        : piece < key ? args_.ropes + position * args_.rope_stride + 8 * (piece - nope)
                                                      : own + args_.nope + 8 * (piece - key);
      char* const to = piece < key ? keys(tile) + row * key_stride() + 16 * piece
                                   : values(tile) + row * value_stride() + 16 * (piece - key);
      cp_async<16>(to, there ? from : args_.keys, there);
    }
    cp_async_commit();
  }

  __device__ void load_queries() {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const std::int64_t row = own_ + r % 2 * 8;
        const int column = 16 * s + r / 2 * 8 + 2 * (lane_ % 4);
        query_[s][r] = row < args_.n_rows && 16 * s < key_width()
                           ? *reinterpret_cast<const std::uint32_t*>(query(row) + column)
                           : 0u;
      }
    }
  }

  // Of 16 rows and a tile's positions; what a row does not see is -infinity.
  __device__ void score(int tile, float (&scores)[kTile / 8][4]) const {
    const int row = lane_ % 8, matrix = lane_ / 8;
    const char* const from = keys(tile) + (matrix / 2 * 8 + row) * key_stride() + matrix % 2 * 16;
#pragma unroll
    for (int i = 0; i < kTile / 8; ++i) {
#pragma unroll
      for (int r = 0; r < 4; ++r) scores[i][r] = 0.0f;
    }
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      if (16 * s >= key_width()) break;
#pragma unroll
      for (int pair = 0; pair < kTile / 16; ++pair) {
        std::uint32_t key[4];
        ldmatrix_x4(key, from + 16 * pair * key_stride() + 32 * s);
        Halves<f16>::multiply(scores[2 * pair], query_[s], key[0], key[1]);
        Halves<f16>::multiply(scores[2 * pair + 1], query_[s], key[2], key[3]);
      }
    }
#pragma unroll
    for (int i = 0; i < kTile / 8; ++i) {
#pragma unroll
      for (int r = 0; r < 4; ++r)
        if (tile * kTile + 8 * i + 2 * (lane_ % 4) + r % 2 > position_[r / 2]) scores[i][r] = -INFINITY;
    }
  }

  // Scores to weights, as the next product takes them; what was added before is corrected.
  __device__ void soften(const float (&scores)[kTile / 8][4], std::uint32_t (&weights)[kTile / 16][4]) {
    float correction[2], base[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float largest = max_[r];
#pragma unroll
      for (int i = 0; i < kTile / 8; ++i) largest = fmaxf(largest, fmaxf(scores[i][2 * r], scores[i][2 * r + 1]));
      largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
      // A row that sees nothing has weights of zero.
      base[r] = largest == -INFINITY ? 0.0f : largest - kUnitLog2;
      correction[r] = max_[r] == -INFINITY ? 0.0f : exp2f(max_[r] - largest);
      max_[r] = largest;
      sum_[r] *= correction[r];
    }
#pragma unroll
    for (int i = 0; i < kTile / 8; ++i) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const std::uint32_t pair =
            Halves<f16>::pack(exp2f(scores[i][2 * r] - base[r]), exp2f(scores[i][2 * r + 1] - base[r]));
        weights[i / 2][2 * (i % 2) + r] = pair;
        const float2 rounded = Halves<f16>::unpack(pair);
        sum_[r] += rounded.x + rounded.y;
      }
    }
    if (!__any_sync(~0u, correction[0] != 1.0f || correction[1] != 1.0f)) return;
#pragma unroll
    for (int i = 0; i < 2 * kValues; ++i) {
#pragma unroll
      for (int r = 0; r < 4; ++r) acc_[i][r] *= correction[r / 2];
    }
  }

  __device__ void add(int tile, const std::uint32_t (&weights)[kTile / 16][4]) {
    const char* const from = values(tile) + lane_ % 16 * value_stride() + lane_ / 16 * 16;
#pragma unroll
    for (int j = 0; j < kTile / 16; ++j) {
#pragma unroll
      for (int i = 0; i < kValues; ++i) {
        if (16 * i >= args_.value) break;
        std::uint32_t value[4];
        ldmatrix_x4_trans(value, from + 16 * j * value_stride() + 32 * i);
        Halves<f16>::multiply(acc_[2 * i], weights[j], value[0], value[1]);
        Halves<f16>::multiply(acc_[2 * i + 1], weights[j], value[2], value[3]);
      }
    }
  }

  __device__ void write() {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      sum_[r] += __shfl_xor_sync(~0u, sum_[r], 1);
      sum_[r] += __shfl_xor_sync(~0u, sum_[r], 2);
      const std::int64_t row = own_ + 8 * r;
      if (position_[r] < 0) continue;
      const float inverse = 1.0f / sum_[r];
      std::uint16_t* const out = query(row) + 2 * (lane_ % 4);
#pragma unroll
      for (int i = 0; i < 2 * kValues; ++i) {
        if (8 * i >= args_.value) break;
        *reinterpret_cast<std::uint32_t*>(out + 8 * i) =
            Halves<f16>::pack(acc_[i][2 * r] * inverse, acc_[i][2 * r + 1] * inverse);
      }
    }
  }

  const MlaPromptArgs& args_;
  char* const shared_;
  const int thread_, lane_;
  const std::int64_t first_, own_, head_;  // rows: the block's first, the lane's first
  std::int32_t n_positions_ = 0, position_[2] = {-1, -1};
  std::uint32_t query_[kSteps][4];
  float acc_[2 * kValues][4] = {};
  float max_[2] = {-INFINITY, -INFINITY}, sum_[2] = {0.0f, 0.0f};
};

}  // namespace

DODECA_KERNEL(mla_prompt_f16_192_128, MlaPromptArgs, kMlaPromptThreads) { MlaPrompt<true, 192, 128>(args).run(); }
DODECA_KERNEL(mla_prompt_bf16_192_128, MlaPromptArgs, kMlaPromptThreads) { MlaPrompt<false, 192, 128>(args).run(); }
DODECA_KERNEL(mla_prompt_f16, MlaPromptArgs, kMlaPromptThreads) {
  MlaPrompt<true, kMostMlaHead, kMostMlaHead>(args).run();
}
DODECA_KERNEL(mla_prompt_bf16, MlaPromptArgs, kMlaPromptThreads) {
  MlaPrompt<false, kMostMlaHead, kMostMlaHead>(args).run();
}

}  // namespace dodeca::gpu::DODECA_KERNELS
