#include "bench/gpu_kernels.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "gpu/kernels/argmax_rows.hpp"
#include "gpu/kernels/mla_decode.hpp"
#include "gpu/kernels/multiply.hpp"
#include "gpu/kernels/quantize_rows.hpp"
#include "gpu/kernels/route_rows.hpp"
#include "gpu/kernels/weigh_rows.hpp"
#include "quant/layout/layout.hpp"
#include "runtime/cli/console.hpp"

namespace dodeca::bench {

using gpu::KernelId;
using quant::DType;

// The matrices that a layer of DeepSeek-V3 reads for every token, and the head.
struct GpuKernels::Matrix {
  const char* name;
  std::int32_t n_in, n_out, n_groups = 1;
  bool compares = false;  // types, by every number of rows
};

namespace {

constexpr std::int32_t kHidden = 7168, kHeads = 128, kLatent = 512, kRope = 64, kExperts = 256, kVocab = 129280;
constexpr DType kTypes[] = {
#define TYPE(name, lower) DType::k##name,
#include "gpu/kernels/multiply_types.inc"
#undef TYPE
};
constexpr DType kUsual[] = {DType::kQ4_K, DType::kQ6_K, DType::kQ8_0, DType::kBF16};
constexpr std::int64_t kMostInGraph = 32;

std::int32_t emulated_size(std::int32_t n, std::int32_t most, bool emulated) {
  return emulated ? std::min(n, most) : n;
}

std::int64_t act_row_bytes(quant::ActFormat format, std::int64_t n_in) {
  switch (format) {
    case quant::ActFormat::kQ8_256:
      return n_in / 256 * 320;
    case quant::ActFormat::kQ8_32:
      return n_in / 32 * 40;
    case quant::ActFormat::kF32:
      break;
  }
  return 4 * n_in;
}

}  // namespace

GpuKernels::GpuKernels(gpu::Device& device, const gpu::DeviceMemory& pool, const GpuMeasure& measure, Report report)
    : device_(device),
      pool_(pool),
      measure_(measure),
      report_(std::move(report)),
      multiprocessors_(device.info().multiprocessors),
      stream_(device.make_stream()) {}

template <class T>
T* GpuKernels::room(std::size_t n) {
  if (n == 0) return nullptr;
  memory_.push_back(device_.allocate(n * sizeof(T)));
  device_.fill(stream_, memory_.back().data(), 0, memory_.back().bytes());
  return reinterpret_cast<T*>(memory_.back().data());
}

// Launches of a graph, so that what is measured is the kernel and not the calls.
void GpuKernels::time(KernelTime result, std::uint64_t bytes_each, const Launch& launch) {
  runtime::cli::throw_if_stopped();
  using Clock = std::chrono::steady_clock;
  const auto copies = std::clamp<std::int64_t>(
      static_cast<std::int64_t>(pool_.bytes() / std::max<std::uint64_t>(1, bytes_each)), 1, kMostInGraph);
  const std::int64_t n = measure_.emulated ? 1 : copies * (kMostInGraph / copies);
  device_.begin_capture(stream_);
  for (std::int64_t i = 0; i < n; ++i) launch(i % copies);
  const gpu::Graph graph = device_.end_capture(stream_);
  device_.launch(stream_, graph);
  device_.synchronize(stream_);
  double seconds = 0;
  std::int64_t turns = 1, done = 0;
  for (const Clock::time_point begin = Clock::now(); seconds < measure_.seconds; turns *= 2) {
    for (std::int64_t turn = 0; turn < turns; ++turn) device_.launch(stream_, graph);
    device_.synchronize(stream_);
    done += turns * n;
    seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  }
  result.us = 1e6 * seconds / static_cast<double>(done);
  report_(result);
}

void GpuKernels::product(const Matrix& matrix, DType dtype, std::int32_t n_rows) {
  const quant::Layout& layout = *quant::find_layout(dtype, quant::LayoutKind::kTiles16);
  const std::int32_t n_in = emulated_size(matrix.n_in, 512, measure_.emulated),
                     n_out = emulated_size(matrix.n_out, 32, measure_.emulated),
                     n_groups = emulated_size(matrix.n_groups, 2, measure_.emulated);
  const bool fits = n_in % quant::type_info(dtype).block_elements == 0 &&
                    (layout.act != quant::ActFormat::kQ8_256 || n_in % 256 == 0);
  const auto n_tiles = static_cast<std::size_t>((n_out + quant::kTileRows - 1) / quant::kTileRows);
  const std::size_t slice_bytes = n_tiles * layout.tile_bytes(n_in),
                    bytes = slice_bytes * static_cast<std::size_t>(n_groups);
  if (!fits || bytes > pool_.bytes()) return;
  memory_.clear();
  const std::int64_t act_bytes = act_row_bytes(layout.act, n_in), rows = static_cast<std::int64_t>(n_rows) * n_groups;
  gpu::MultiplyArgs args{};
  args.acts = room<std::byte>(static_cast<std::size_t>(rows * act_bytes));
  args.out = room<float>(static_cast<std::size_t>(rows * n_out));
  args.slice_bytes = static_cast<std::int64_t>(slice_bytes);
  args.act_stride = act_bytes;
  args.act_group_stride = n_rows * act_bytes;
  args.out_stride = n_out;
  args.out_group_stride = static_cast<std::int64_t>(n_rows) * n_out;
  args.n_in = n_in;
  args.n_out = n_out;
  args.n_rows = n_rows;
  args.n_groups = n_groups;
  gpu::MultiplyLaunch launch = gpu::plan_multiply(dtype, args, multiprocessors_);
  launch.args.partials = room<float>(launch.n_partials);
  launch.args.counters = room<std::uint32_t>(launch.n_counters);
  const std::string slices = n_groups > 1 ? fmt::format("{} x ", n_groups) : "";
  time({.kernel = std::string(name_of(launch.kernel)),
        .shape = fmt::format("{}, {}{} -> {}", matrix.name, slices, n_in, n_out),
        .grid = launch.grid,
        .bytes = gpu::multiply_bytes(dtype, launch.args),
        .operations = gpu::multiply_operations(launch.args),
        .n_rows = matrix.compares ? n_rows : 0,
        .dtype = dtype,
        .multiplies_integers = layout.act != quant::ActFormat::kF32},
       bytes, [&](std::int64_t i) {
         launch.args.weights = pool_.data() + static_cast<std::size_t>(i) * bytes;
         device_.launch(stream_, launch.kernel, launch.grid, &launch.args, sizeof launch.args);
       });
}

void GpuKernels::products() {
  const Matrix output{.name = "output projection", .n_in = kHeads * 128, .n_out = kHidden, .compares = true};
  for (const DType dtype : kTypes)
    for (const std::int32_t n_rows : {1, 2, 4, 8, 64, 512}) product(output, dtype, n_rows);
  const Matrix others[] = {{"q_a", kHidden, 1536},
                           {"kv_a", kHidden, kLatent + kRope},
                           {"q_b", 1536, kHeads * (128 + kRope)},
                           {"k_b", 128, kLatent, kHeads},
                           {"v_b", kLatent, 128, kHeads},
                           {"gate of a shared expert", kHidden, 2048},
                           {"down of a shared expert", 2048, kHidden},
                           {"gate of a dense layer", kHidden, 18432},
                           {"down of a dense layer", 18432, kHidden},
                           {"head", kHidden, kVocab}};
  for (const Matrix& matrix : others)
    for (const DType dtype : kUsual) product(matrix, dtype, 1);
  product({"router", kHidden, kExperts}, DType::kF32, 1);
}

void GpuKernels::decode(gpu::CacheType type, std::int32_t n_positions) {
  gpu::MlaDecodeArgs args{};
  args.shape = {.latent = kLatent, .rope = kRope, .type = type};
  args.arithmetic = type == gpu::CacheType::kF32 ? gpu::MlaArithmetic::kF32 : gpu::MlaArithmetic::kTensor;
  args.n_rows = 1;
  args.n_heads = kHeads;
  args.scale = 0.1f;
  args.cache.row_bytes = gpu::cache_row_bytes(args.shape);
  const std::uint64_t bytes =
      static_cast<std::uint64_t>(n_positions) * static_cast<std::uint64_t>(args.cache.row_bytes);
  if (bytes > pool_.bytes()) return;
  const std::int32_t n_blocks = n_positions / gpu::kCacheBlock, position = n_positions - 1;
  std::vector<std::int32_t> table(static_cast<std::size_t>(n_blocks));
  std::iota(table.begin(), table.end(), 0);
  auto* const device_table = room<std::int32_t>(table.size());
  auto* const positions = room<std::int32_t>(1);
  device_.copy_to_device(stream_, device_table, table.data(), table.size() * sizeof table[0]);
  device_.copy_to_device(stream_, positions, &position, sizeof position);
  args.cache.table = device_table;
  args.cache.table_stride = n_blocks;
  args.sequences = room<std::int32_t>(1);
  args.positions = positions;
  args.queries = room<float>(static_cast<std::size_t>(kHeads) * (kLatent + kRope));
  args.most_chunks = gpu::mla_most_chunks(args, multiprocessors_, n_positions);
  const auto n_partials = static_cast<std::size_t>(gpu::mla_partials(args));
  args.partials = {room<float>(n_partials), room<float>(n_partials), room<float>(n_partials * kLatent)};
  const gpu::MlaMergeArgs merge{.partials = args.partials,
                                .positions = positions,
                                .out = room<float>(static_cast<std::size_t>(kHeads) * kLatent),
                                .n_rows = 1,
                                .n_heads = kHeads,
                                .latent = kLatent,
                                .most_chunks = args.most_chunks};
  device_.synchronize(stream_);
  const std::string shape = fmt::format("{} positions", n_positions);
  const KernelId kernel = gpu::mla_decode_kernel(args);
  const gpu::Grid grid = gpu::mla_decode_grid(args);
  time({.kernel = std::string(name_of(kernel)),
        .shape = shape,
        .grid = grid,
        .bytes = gpu::mla_decode_bytes(args, position),
        .operations = gpu::mla_decode_operations(args, position)},
       bytes, [&](std::int64_t i) {
         args.cache.rows = pool_.data() + static_cast<std::uint64_t>(i) * bytes;
         device_.launch(stream_, kernel, grid, &args, sizeof args);
       });
  if (type != gpu::CacheType::kF16) return;
  const auto chunks = static_cast<std::uint64_t>(gpu::mla_cut(position, args.most_chunks).count);
  one<KernelId::mla_merge>(fmt::format("{} chunks of {}", chunks, shape), gpu::mla_merge_grid(merge), merge,
                           4 * kHeads * (chunks * (kLatent + 2) + kLatent), 2 * kHeads * chunks * kLatent);
}

void GpuKernels::attention() {
  using enum gpu::CacheType;
  const std::vector<std::int32_t> contexts =
      measure_.emulated ? std::vector<std::int32_t>{128} : std::vector<std::int32_t>{4096, 16384, 32768};
  for (const gpu::CacheType type : {kF16, kBf16, kInt8, kF32})
    for (const std::int32_t n_positions : contexts) {
      memory_.clear();
      decode(type, n_positions);
    }
}

template <KernelId kernel>
void GpuKernels::one(const std::string& shape, const gpu::Grid& grid, const gpu::KernelArgs<kernel>& args,
                     std::uint64_t bytes, std::uint64_t operations) {
  time({.kernel = std::string(name_of(kernel)), .shape = shape, .grid = grid, .bytes = bytes, .operations = operations},
       pool_.bytes(), [&](std::int64_t) { device_.launch<kernel>(stream_, grid, args); });
}

void GpuKernels::rows() {
  memory_.clear();
  constexpr std::int32_t kShared = 2048;
  const gpu::RowCopies copies{.q8_256 = room<std::byte>(kHidden / 256 * 320), .q8_256_stride = kHidden / 256 * 320};
  const gpu::WeighRowsArgs weigh{.residual = room<float>(kHidden),
                                 .addition = room<float>(kHidden),
                                 .weight = room<float>(kHidden),
                                 .weighed = room<float>(kHidden),
                                 .factors = room<float>(1),
                                 .copies = copies,
                                 .n_rows = 1,
                                 .n = kHidden,
                                 .eps = 1e-6f};
  one<KernelId::weigh_rows>(fmt::format("{} values", kHidden), gpu::weigh_rows_grid(weigh), weigh,
                            gpu::weigh_rows_bytes(weigh), gpu::weigh_rows_operations(weigh));
  const gpu::QuantizeRowsArgs quantize{.in = room<float>(kHidden), .copies = copies, .n_rows = 1, .n = kHidden};
  one<KernelId::quantize_rows>(fmt::format("{} values", kHidden), gpu::quantize_rows_grid(quantize), quantize,
                               gpu::quantize_rows_bytes(quantize), gpu::quantize_rows_operations(quantize));
  const gpu::SwigluRowsArgs swiglu{
      .gate = room<float>(kShared), .up = room<float>(kShared), .copies = copies, .n_rows = 1, .n = kShared};
  one<KernelId::swiglu_rows>(fmt::format("{} values", kShared), gpu::swiglu_rows_grid(swiglu), swiglu,
                             gpu::swiglu_rows_bytes(swiglu), gpu::swiglu_rows_operations(swiglu));
  const gpu::RouteRowsArgs route{.logits = room<float>(kExperts),
                                 .bias = room<float>(kExperts),
                                 .ids = room<std::int32_t>(8),
                                 .weights = room<float>(8),
                                 .n_rows = 1,
                                 .n_experts = kExperts,
                                 .n_used = 8,
                                 .n_groups = 8,
                                 .n_groups_used = 4,
                                 .group_score = gpu::RouteGroupScore::kTop2Sum,
                                 .gating = gpu::RouteGating::kSigmoid,
                                 .normalize = true,
                                 .scale = 2.5f};
  one<KernelId::route_rows>("8 of 256 experts, 4 of 8 groups", gpu::route_rows_grid(route), route,
                            gpu::route_rows_bytes(route), gpu::route_rows_operations(route));
  gpu::ArgmaxRowsArgs argmax{.in = room<float>(kVocab), .out = room<gpu::Best>(1), .n_rows = 1, .n = kVocab};
  argmax.partials = room<gpu::Best>(gpu::argmax_partials(argmax));
  argmax.counters = room<std::uint32_t>(1);
  one<KernelId::argmax_rows>(fmt::format("{} logits", kVocab), gpu::argmax_rows_grid(argmax), argmax,
                             gpu::argmax_rows_bytes(argmax), gpu::argmax_rows_operations(argmax));
}

}  // namespace dodeca::bench
