// What all products share: which rows a block multiplies, and how the sums of lanes, warps and blocks become results.
#pragma once

#include "gpu/kernels/last_block.cuh"
#include "gpu/kernels/multiply.hpp"
#include "quant/layout/tile.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

inline constexpr std::uint32_t kWholeWarp = 0xffffffffu;

// The columns of a block: rows [first, first + count) of a group. z runs over groups and, inside, over C rows at a time.
template <int C>
struct BlockRows {
  std::int32_t group, first, count, slice;

  __device__ explicit BlockRows(const MultiplyArgs& args) {
    const std::int32_t per_group = (args.n_rows + C - 1) / C, z = static_cast<std::int32_t>(blockIdx.z);
    group = z / per_group;
    first = z % per_group * C;
    std::int32_t end = args.n_rows;
    if (args.group_begin != nullptr) {
      first += args.group_begin[group];
      end = args.group_begin[group + 1];
    }
    count = end - first < C ? end - first : C;
    slice = args.slices == nullptr ? group : args.slices[group];
    if (slice < 0) count = 0;
  }
  __device__ std::int32_t act_row(const MultiplyArgs& args, std::int32_t c) const {
    return args.act_rows == nullptr ? first + c : args.act_rows[first + c];
  }
  // The group's activation rows, and where among them row c is, in 32 bits to save registers. Beyond the last row it is
  // read again, and the result is not stored.
  __device__ const std::byte* acts(const MultiplyArgs& args) const { return args.acts + group * args.act_group_stride; }
  __device__ std::uint32_t act_offset(const MultiplyArgs& args, std::int32_t c) const {
    return static_cast<std::uint32_t>(act_row(args, c < count ? c : count - 1)) *
           static_cast<std::uint32_t>(args.act_stride);
  }
};

// Sums N values of each lane over the 2^kSteps lanes whose numbers differ in bit `step` and the next ones, from the lowest bit
// up, by halves: of two lanes one goes on with the lower half of the values, the other with the upper one. The lane is left
// with kKept of them, from the returned one on; where there are fewer values than lanes, those of higher bits have the same.
template <int N, int kSteps>
inline constexpr int kKept = (N >> kSteps) > 0 ? N >> kSteps : 1;
template <int kSteps, int N>
__device__ inline int sum_by_halves(float (&v)[N], int step) {
  int first = 0, n = N;
#pragma unroll
  for (int s = 0; s < kSteps; ++s, step *= 2) {
    if (n == 1) {
      v[0] += __shfl_xor_sync(kWholeWarp, v[0], step);
      continue;
    }
    n /= 2;
    const bool upper = (static_cast<int>(threadIdx.x) & step) != 0;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      if (i >= n) break;
      const float sent = upper ? v[i] : v[i + n], kept = upper ? v[i + n] : v[i];
      v[i] = kept + __shfl_xor_sync(kWholeWarp, sent, step);
    }
    if (upper) first += n;
  }
  return first;
}

// One term of a tile's results: [C][16]. Each warp or piece leaves one; results are the sums of all, in ascending order.
template <int C>
inline constexpr int kTermFloats = C* quant::kTileRows;

// Volatile: what other blocks wrote is read, not what was here before. Sixteen loads are on their way together.
__device__ inline float sum_of_terms(const volatile float* terms, int n, int term_floats) {
  float sum = terms[0];
#pragma unroll 16
  for (int term = 1; term < n; ++term) sum += terms[term * term_floats];
  return sum;
}

// Where the terms of all blocks of a tile go, if there are several.
template <int C>
__device__ inline float* partials_of_tile(const MultiplyArgs& args, int n_all) {
  const std::int64_t tile = static_cast<std::int64_t>(blockIdx.z) * gridDim.x + blockIdx.x;
  return args.partials + tile * n_all * kTermFloats<C>;
}
__device__ inline bool is_last_of_tile(const MultiplyArgs& args) {
  const std::int64_t tile = static_cast<std::int64_t>(blockIdx.z) * gridDim.x + blockIdx.x;
  return is_last_block(args.counters + tile, static_cast<std::uint32_t>(args.n_splits));
}

// The result of row c of the block's and of a row of weights.
template <int C>
__device__ inline void store_result(const MultiplyArgs& args, const BlockRows<C>& rows, std::int32_t c,
                                    std::int32_t row, float sum) {
  float* const out = args.out + rows.group * args.out_group_stride + (rows.first + c) * args.out_stride + row;
  if (args.accumulate) sum += *out;
  if (args.factors != nullptr) sum *= args.factors[rows.act_row(args, c)];
  *out = sum;
}

template <int C>
__device__ inline void store_results(const MultiplyArgs& args, const BlockRows<C>& rows, const float* terms, int n) {
  const int thread = static_cast<int>(threadIdx.x);
  const std::int32_t row = static_cast<std::int32_t>(blockIdx.x) * quant::kTileRows + thread % quant::kTileRows;
  if (row >= args.n_out) return;
  for (int i = thread; i < rows.count * quant::kTileRows; i += static_cast<int>(blockDim.x)) {
    const int c = i / quant::kTileRows;
    store_result(args, rows, c, row, sum_of_terms(terms + i, n, kTermFloats<C>));
  }
}

// The block's n terms, of its warps, become results; where several blocks share a tile, one term of the block first. All
// threads of the block call this, and the terms are there.
template <int C>
__device__ inline void add_warps(const MultiplyArgs& args, const BlockRows<C>& rows, const float* terms, int n) {
  if (args.n_splits > 1) {
    float* const partials = partials_of_tile<C>(args, args.n_splits);
    for (int i = static_cast<int>(threadIdx.x); i < kTermFloats<C>; i += static_cast<int>(blockDim.x))
      partials[static_cast<int>(blockIdx.y) * kTermFloats<C> + i] = sum_of_terms(terms + i, n, kTermFloats<C>);
    if (!is_last_of_tile(args)) return;
    terms = partials;
    n = args.n_splits;
  }
  store_results(args, rows, terms, n);
}

// The same for pieces, whose terms are added one by one: the block has n of n_all, from number `first` on.
template <int C>
__device__ inline void add_pieces(const MultiplyArgs& args, const BlockRows<C>& rows, const float* terms, int n,
                                  int first, int n_all) {
  if (args.n_splits > 1) {
    float* const partials = partials_of_tile<C>(args, n_all);
    for (int i = static_cast<int>(threadIdx.x); i < n * kTermFloats<C>; i += static_cast<int>(blockDim.x))
      partials[first * kTermFloats<C> + i] = terms[i];
    if (!is_last_of_tile(args)) return;
    terms = partials;
    n = n_all;
  }
  store_results(args, rows, terms, n);
}

}  // namespace dodeca::gpu::DODECA_KERNELS
