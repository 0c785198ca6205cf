#include "gpu/kernels/multiply.hpp"

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>

#include "gpu/kernels/multiply_limits.hpp"
#include "quant/layout/layout.hpp"

namespace dodeca::gpu {
namespace {

struct TypeKernels {
  quant::DType dtype;
  KernelId first;                // for one column; those for 2, 4 and 8 follow
  std::optional<KernelId> many;  // for many
};
constexpr TypeKernels kTypes[] = {
#define TYPE(name, lower) {quant::DType::k##name, KernelId::multiply_##lower##_1, std::nullopt},
#define BLOCK_TYPE(name, lower) \
  {quant::DType::k##name, KernelId::multiply_##lower##_1, KernelId::multiply_##lower##_many},
#include "gpu/kernels/multiply_types.inc"
#undef TYPE
};

const TypeKernels* kernels_of(quant::DType dtype) {
  const auto* const found = std::ranges::find(kTypes, dtype, &TypeKernels::dtype);
  return found == std::end(kTypes) ? nullptr : found;
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Columns that one block multiplies, as a power of two.
int columns_log2(std::int32_t n_rows) { return n_rows <= 1 ? 0 : n_rows <= 2 ? 1 : n_rows <= 4 ? 2 : 3; }

bool takes_many(const TypeKernels& kernels, std::int32_t n_rows) {
  return kernels.many.has_value() && n_rows >= kLeastManyRows;
}

// Warps per multiprocessor that keep enough loads on their way, and per tile that keep blocks of equal length.
constexpr std::int64_t kWarpsEach = 16, kLeastTileWarps = 4;

// A warp of a product of floats has so many pieces in hand (multiply_floats.cu), none shorter than the least.
std::int64_t pieces_of_warp(quant::DType dtype) {
  return dtype == quant::DType::kF16 || dtype == quant::DType::kBF16 ? 4 : 2;
}
std::int64_t least_piece(quant::DType dtype) { return dtype == quant::DType::kF8_E4M3_B128 ? 128 : 64; }

struct Split {
  std::int64_t warps, n_splits;
  std::int64_t n_terms;  // that the blocks of a tile leave together
};

// `units`: what a tile's warps can share at most, one unit at a time. Equal shares with as few warps as that takes.
Split split_units(std::int64_t units, std::int64_t wanted, std::int64_t most_warps) {
  const std::int64_t all = std::clamp(wanted, std::min(kLeastTileWarps, units), units);
  const std::int64_t n_splits = ceil_div(all, most_warps), each = ceil_div(units, ceil_div(all, n_splits) * n_splits);
  const std::int64_t warps = ceil_div(units, each * n_splits);
  return {warps, n_splits, n_splits};
}

Split split_floats(quant::DType dtype, MultiplyArgs& args, std::int64_t wanted, std::int64_t most_warps,
                   std::int32_t piece_columns) {
  const std::int64_t in_hand = pieces_of_warp(dtype), least = least_piece(dtype);
  if (piece_columns == 0) {
    const std::int64_t pieces = std::max(wanted, kLeastTileWarps) * in_hand;
    piece_columns = static_cast<std::int32_t>(ceil_div(ceil_div(args.n_in, pieces), least) * least);
  }
  args.piece_columns = piece_columns;
  const std::int64_t n_pieces = ceil_div(args.n_in, piece_columns);
  Split split = split_units(ceil_div(n_pieces, in_hand), wanted, most_warps);
  split.n_splits = std::max(split.n_splits, ceil_div(n_pieces, kBlockPieces));
  split.n_terms = n_pieces;
  return split;
}

}  // namespace

bool can_multiply(quant::DType dtype) { return kernels_of(dtype) != nullptr; }

MultiplyLaunch plan_multiply(quant::DType dtype, const MultiplyArgs& args, std::int32_t multiprocessors,
                             std::int32_t piece_columns) {
  const TypeKernels* const kernels = kernels_of(dtype);
  if (kernels == nullptr)
    throw std::invalid_argument("no device product for type " + std::string(quant::name_of(dtype)));
  MultiplyLaunch launch{.args = args};
  if (takes_many(*kernels, args.n_rows)) {
    launch.kernel = *kernels->many;
    launch.args.n_splits = 1;
    launch.grid = {.blocks_x = static_cast<std::uint32_t>(ceil_div(args.n_out, quant::kTileRows * kManyTiles)),
                   .blocks_y = 1,
                   .blocks_z = static_cast<std::uint32_t>(args.n_groups * ceil_div(args.n_rows, kManyRows)),
                   .threads = static_cast<std::uint32_t>(32 * kManyTiles)};
    return launch;
  }
  const int log2 = columns_log2(args.n_rows), columns = 1 << log2;
  launch.kernel = static_cast<KernelId>(static_cast<int>(kernels->first) + log2);
  const std::int64_t n_tiles = ceil_div(args.n_out, quant::kTileRows);
  const std::int64_t z = args.n_groups * ceil_div(args.n_rows, columns), most_warps = multiply_warps(columns);
  const std::int64_t wanted = ceil_div(kWarpsEach * multiprocessors, std::max<std::int64_t>(1, n_tiles * z));
  const bool is_floats = quant::find_layout(dtype, quant::LayoutKind::kTiles16)->act == quant::ActFormat::kF32;
  const Split split = is_floats ? split_floats(dtype, launch.args, wanted, most_warps, piece_columns)
                                : split_units(ceil_div(args.n_in, 256), wanted, most_warps);
  launch.args.n_splits = static_cast<std::int32_t>(split.n_splits);
  const std::int64_t term_floats = columns * quant::kTileRows;
  launch.grid = {.blocks_x = static_cast<std::uint32_t>(n_tiles),
                 .blocks_y = static_cast<std::uint32_t>(split.n_splits),
                 .blocks_z = static_cast<std::uint32_t>(z),
                 .threads = static_cast<std::uint32_t>(32 * split.warps)};
  if (is_floats)
    launch.grid.shared_bytes = static_cast<std::uint32_t>(ceil_div(split.n_terms, split.n_splits) * term_floats * 4);
  if (split.n_splits > 1) {
    launch.n_partials = static_cast<std::size_t>(n_tiles * z * split.n_terms * term_floats);
    launch.n_counters = static_cast<std::size_t>(n_tiles * z);
  }
  return launch;
}

std::uint64_t multiply_bytes(quant::DType dtype, const MultiplyArgs& args) {
  const quant::Layout& layout = *quant::find_layout(dtype, quant::LayoutKind::kTiles16);
  const int columns = takes_many(*kernels_of(dtype), args.n_rows) ? kManyRows : 1 << columns_log2(args.n_rows);
  const std::uint64_t readings = static_cast<std::uint64_t>(args.n_groups * ceil_div(args.n_rows, columns));
  const auto n_tiles = static_cast<std::uint64_t>(ceil_div(args.n_out, quant::kTileRows));
  const auto n_in = static_cast<std::uint64_t>(args.n_in);
  const std::uint64_t act_bytes = layout.act == quant::ActFormat::kF32 ? 4 * n_in : n_in * 5 / 4;
  return readings * n_tiles * layout.tile_bytes(args.n_in) +
         static_cast<std::uint64_t>(args.n_groups * args.n_rows) *
             (act_bytes + 4 * static_cast<std::uint64_t>(args.n_out));
}

std::uint64_t multiply_operations(const MultiplyArgs& args) {
  return 2 * static_cast<std::uint64_t>(args.n_groups * args.n_rows) * static_cast<std::uint64_t>(args.n_out) *
         static_cast<std::uint64_t>(args.n_in);
}

}  // namespace dodeca::gpu
