// Products of types of floats. A tile has its 16 rows of column 0, then of column 1, ... A lane has R rows of every fourth
// column of a piece, one sum each, as processors add; so four lanes, or two with 8 rows each, read a column, and a warp
// has 2 or 4 pieces in hand.
#include "gpu/kernels/multiply_limits.hpp"
#include "gpu/kernels/multiply_sums.cuh"
#include "quant/formats/plain.hpp"

namespace dodeca::gpu::DODECA_KERNELS {

// R rows of one column from `at` on, as float32.
struct WordsF32 {
  static constexpr int kRows = 4;
  using Loaded = uint4;
  __device__ static Loaded load(const std::byte* at) { return load_once(reinterpret_cast<const uint4*>(at)); }
  __device__ static void unpack(const Loaded& v, float (&w)[kRows]) {
    w[0] = __uint_as_float(v.x), w[1] = __uint_as_float(v.y), w[2] = __uint_as_float(v.z), w[3] = __uint_as_float(v.w);
  }
  static constexpr int kBytes = 4;
};

struct WordsF16 {
  static constexpr int kRows = 8, kBytes = 2;
  using Loaded = uint4;
  __device__ static Loaded load(const std::byte* at) { return load_once(reinterpret_cast<const uint4*>(at)); }
  __device__ static void unpack(const Loaded& v, float (&w)[kRows]) {
    const std::uint32_t pair[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      w[2 * i] = f16_to_f32(static_cast<std::uint16_t>(pair[i] & 0xffffu));
      w[2 * i + 1] = f16_to_f32(static_cast<std::uint16_t>(pair[i] >> 16));
    }
  }
};

struct WordsBF16 {
  static constexpr int kRows = 8, kBytes = 2;
  using Loaded = uint4;
  __device__ static Loaded load(const std::byte* at) { return load_once(reinterpret_cast<const uint4*>(at)); }
  __device__ static void unpack(const Loaded& v, float (&w)[kRows]) {
    const std::uint32_t pair[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      w[2 * i] = __uint_as_float(pair[i] << 16);
      w[2 * i + 1] = __uint_as_float(pair[i] & 0xffff0000u);
    }
  }
};

// E4M3 bits moved into an f16 read as 2^-8 times the value, as processors read them.
struct WordsF8 {
  static constexpr int kRows = 4, kBytes = 1;
  using Loaded = std::uint32_t;
  __device__ static Loaded load(const std::byte* at) { return load_once(reinterpret_cast<const std::uint32_t*>(at)); }
  __device__ static void unpack(const Loaded& v, float (&w)[kRows]) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const std::uint32_t bits = v >> (8 * r) & 255u;
      w[r] = f16_to_f32(static_cast<std::uint16_t>((bits & 0x80u) << 8 | (bits & 0x7fu) << 7));
    }
  }
};

// Where a lane stands: the first of its rows, which of four columns, and which of the warp's pieces.
template <class Words>
struct FloatLane {
  static constexpr int kLanes = quant::kTileRows / Words::kRows;  // of a column
  static constexpr int kPieces = 32 / (4 * kLanes);               // of a warp
  int row, column, piece;
  __device__ FloatLane() {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    row = lane % kLanes * Words::kRows;
    column = lane / kLanes % 4;
    piece = lane / (4 * kLanes);
  }
};

// Values c * R + r, c < C and r < R, of a lane; and those that it is left with once four lanes have added theirs.
template <class Words, int C>
inline constexpr int kLaneSums = C* Words::kRows;
template <class Words, int C>
inline constexpr int kLaneKept = kKept<kLaneSums<Words, C>, 2>;

// sums[c][r] = the lane's sum over columns column, column + 4, ... of [0, n): w is the tile at column 0, x the rows there.
template <class Words, int C>
__device__ inline void sum_columns(const std::byte* w, const float* const (&x)[C], std::int32_t n,
                                   const FloatLane<Words>& lane, float (&sums)[kLaneSums<Words, C>]) {
#pragma unroll
  for (int i = 0; i < kLaneSums<Words, C>; ++i) sums[i] = 0.0f;
  w += lane.row * Words::kBytes;
#pragma unroll(C == 1 ? 8 : C == 2 ? 4 : 2)
  for (std::int32_t k = lane.column; k < n; k += 4) {
    float weight[Words::kRows];
    Words::unpack(Words::load(w + k * (quant::kTileRows * Words::kBytes)), weight);
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const float value = __ldg(x[c] + k);
#pragma unroll
      for (int r = 0; r < Words::kRows; ++r)
        sums[c * Words::kRows + r] = fmaf(weight[r], value, sums[c * Words::kRows + r]);
    }
  }
}

// (s0 + s1) + (s2 + s3) of the four lanes of a piece, each of which is left with a quarter of the sums, from the returned one
// on. All lanes of a warp together.
template <class Words, int N>
__device__ inline int add_four(float (&sums)[N]) {
  return sum_by_halves<2>(sums, FloatLane<Words>::kLanes);
}

// Columns [begin, begin + n) of a tile, n 0 where the lane has none.
struct Piece {
  const std::byte* tile;
  std::int32_t begin, n;
  std::int32_t most;  // the longest of the warp's pieces
};

// The sum of a piece. What the lane is left with is in the first places of `sums`.
template <class Words_, int C>
struct PlainPiece {
  using Words = Words_;
  __device__ static std::int64_t tile_bytes(std::int32_t n_in) {
    return (static_cast<std::int64_t>(n_in) * quant::kTileRows * Words::kBytes + 63) / 64 * 64;
  }
  __device__ static int sum(const Piece& piece, const float* const (&acts)[C], const FloatLane<Words>& lane,
                            float (&sums)[kLaneSums<Words, C>]) {
    const float* x[C];
#pragma unroll
    for (int c = 0; c < C; ++c) x[c] = acts[c] + piece.begin;
    const std::int64_t offset = static_cast<std::int64_t>(piece.begin) * quant::kTileRows * Words::kBytes;
    sum_columns<Words, C>(piece.tile + offset, x, piece.n, lane, sums);
    return add_four<Words>(sums);
  }
};

// FP8: block after block of 128 columns, folded with its scale times 2^8.
template <int C>
struct F8Piece {
  using Words = WordsF8;
  using Tile = quant::TileF8;
  __device__ static std::int64_t tile_bytes(std::int32_t n_in) { return static_cast<std::int64_t>(Tile::bytes(n_in)); }
  __device__ static int sum(const Piece& piece, const float* const (&acts)[C], const FloatLane<Words>& lane,
                            float (&sums)[kLaneSums<Words, C>]) {
    float folded[kLaneKept<Words, C>] = {};
    int first = 0;
    for (std::int32_t at = 0; at < piece.most; at += Tile::kColumns) {  // all lanes meet, also without a block left
      const bool has = at < piece.n;
      const std::int32_t column = has ? piece.begin + at : 0;
      const std::int64_t block = column / Tile::kColumns;
      const float* x[C];
#pragma unroll
      for (int c = 0; c < C; ++c) x[c] = acts[c] + column;
      sum_columns<Words, C>(piece.tile + Tile::body(block), x, has ? Tile::kColumns : 0, lane, sums);
      first = add_four<Words>(sums);
      const auto* const scales = reinterpret_cast<const float*>(piece.tile + Tile::header(block)) + lane.row;
#pragma unroll
      for (int i = 0; i < kLaneKept<Words, C>; ++i) {
        if (has) folded[i] = fmaf(__ldg(scales + (first + i) % Words::kRows) * 256.0f, sums[i], folded[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < kLaneKept<Words, C>; ++i) sums[i] = folded[i];
    return first;
  }
};

// One tile times C rows. A block of the split has the next so many pieces.
template <class PieceSum, int C>
__device__ inline void multiply_floats(const MultiplyArgs& args) {
  using Words = typename PieceSum::Words;
  const BlockRows<C> rows(args);
  if (rows.count <= 0) return;
  float* const terms = dynamic_shared<float>();
  const FloatLane<Words> lane;
  const std::int32_t n_pieces = (args.n_in + args.piece_columns - 1) / args.piece_columns;
  const std::int32_t per_split = (n_pieces + args.n_splits - 1) / args.n_splits;
  const std::int32_t first = static_cast<std::int32_t>(blockIdx.y) * per_split;
  const std::int32_t own = n_pieces - first < per_split ? n_pieces - first : per_split;
  const std::byte* const tile = args.weights + rows.slice * args.slice_bytes +
                                static_cast<std::int64_t>(blockIdx.x) * PieceSum::tile_bytes(args.n_in);
  const std::byte* const acts = rows.acts(args);
  const float* x[C];
#pragma unroll
  for (int c = 0; c < C; ++c) x[c] = reinterpret_cast<const float*>(acts + rows.act_offset(args, c));
  const int warp = static_cast<int>(threadIdx.x) / 32, warps = static_cast<int>(blockDim.x) / 32;
  for (std::int32_t p = warp * lane.kPieces; p < own; p += warps * lane.kPieces) {
    const std::int32_t number = p + lane.piece, begin = (first + number) * args.piece_columns;
    Piece piece{tile, begin, 0, args.piece_columns};
    if (number < own) piece.n = args.n_in - begin < args.piece_columns ? args.n_in - begin : args.piece_columns;
    float sums[kLaneSums<Words, C>];
    const int kept = PieceSum::sum(piece, x, lane, sums);
    if (number >= own) continue;
#pragma unroll
    for (int i = 0; i < kLaneKept<Words, C>; ++i) {
      const int c = (kept + i) / Words::kRows, r = (kept + i) % Words::kRows;
      terms[number * kTermFloats<C> + c * quant::kTileRows + lane.row + r] = sums[i];
    }
  }
  __syncthreads();
  add_pieces(args, rows, terms, own, first, n_pieces);
}

#define DODECA_MULTIPLY_FLOATS(lower, PieceSum)                                                                     \
  DODECA_KERNEL(multiply_##lower##_1, MultiplyArgs, kMultiplyThreads, 2) { multiply_floats<PieceSum(1), 1>(args); } \
  DODECA_KERNEL(multiply_##lower##_2, MultiplyArgs, kMultiplyThreads, 2) { multiply_floats<PieceSum(2), 2>(args); } \
  DODECA_KERNEL(multiply_##lower##_4, MultiplyArgs, kMultiplyThreads / 2, 3) {                                      \
    multiply_floats<PieceSum(4), 4>(args);                                                                          \
  }                                                                                                                 \
  DODECA_KERNEL(multiply_##lower##_8, MultiplyArgs, kMultiplyThreads / 2, 2) { multiply_floats<PieceSum(8), 8>(args); }

#define F32_PIECE(C) PlainPiece<WordsF32, C>
#define F16_PIECE(C) PlainPiece<WordsF16, C>
#define BF16_PIECE(C) PlainPiece<WordsBF16, C>
#define F8_PIECE(C) F8Piece<C>
DODECA_MULTIPLY_FLOATS(f32, F32_PIECE)
DODECA_MULTIPLY_FLOATS(f16, F16_PIECE)
DODECA_MULTIPLY_FLOATS(bf16, BF16_PIECE)
DODECA_MULTIPLY_FLOATS(f8_e4m3_b128, F8_PIECE)

}  // namespace dodeca::gpu::DODECA_KERNELS
