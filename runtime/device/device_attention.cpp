#include "runtime/device/device_attention.hpp"

#include <algorithm>
#include <numbers>

#include "gpu/kernels/mla_prompt.hpp"
#include "gpu/kernels/rope.hpp"

namespace dodeca::runtime::device {
namespace {

using enum WeightRole;
using exec::RowBuffer;
using gpu::KernelId;

std::int64_t head_dim(const ModelConfig& c) { return c.qk_nope_head_dim + c.qk_rope_head_dim; }
std::int64_t cache_width(const ModelConfig& c) { return c.kv_lora_rank + c.qk_rope_head_dim; }
// Latent attention rotates neighbours, whatever the file says of grouped queries (runtime/model/config.hpp).
constexpr gpu::RopePairs kPairs = gpu::RopePairs::kNeighbours;

const float* cos_sin(const DeviceSpace& space, const RowRange& rows, std::int64_t rope) {
  return space.array<float>(DeviceArray::kCosSin) + rows.first * rope;
}

}  // namespace

std::vector<RowRun> row_runs(std::span<const exec::Row> rows, std::int64_t short_prompt) {
  std::vector<RowRun> runs;
  for (std::size_t first = 0, end = 0; first < rows.size(); first = end) {
    const exec::Row& row = rows[first];
    for (end = first + 1; row.prompt && end < rows.size(); ++end) {
      const exec::Row &before = rows[end - 1], &next = rows[end];
      if (!next.prompt || next.sequence != row.sequence || next.position != before.position + 1) break;
    }
    const RowRange range{static_cast<std::int64_t>(first), static_cast<std::int64_t>(end - first)};
    if (range.n > short_prompt)
      runs.push_back({range, true, row.sequence, std::int64_t{rows[end - 1].position} + 1});
    else if (runs.empty() || runs.back().decompressed)
      runs.push_back({.rows = range});
    else
      runs.back().rows.n += range.n;
  }
  return runs;
}

DeviceAttention::DeviceAttention(const ModelConfig& config, const BlockPlan& plan, const DeviceWeights& weights,
                                 const DeviceCache& cache, gpu::MlaArithmetic arithmetic)
    : config_(config), shape_(cache.shape()), arithmetic_(arithmetic), rows_(cache.layer(plan.layer)) {
  const auto vector = [&](WeightRole role) { return weights.vector({role, plan.layer}); };
  const auto matrix = [&](WeightRole role) { return weights.matrix({role, plan.layer}); };
  norm_ = vector(kAttentionNorm);
  q_a_norm_ = vector(kQANorm);
  q_a_bias_ = vector(kQABias);
  kv_a_norm_ = vector(kKvANorm);
  kv_a_bias_ = vector(kKvABias);
  output_bias_ = vector(kAttentionOutputBias);
  q_ = matrix(kQ);
  q_a_ = matrix(kQA);
  q_b_ = matrix(kQB);
  kv_a_ = matrix(kKvA);
  k_b_ = matrix(kKB);
  v_b_ = matrix(kVB);
  output_ = matrix(kAttentionOutput);
  decompression_ = weights.decompression(plan.layer);
}

void DeviceAttention::launch(const DeviceOps& ops, std::int64_t n, const DeviceRows* addition,
                             std::int64_t table_stride, std::span<const RowRun> runs) const {
  const DeviceSpace& space = ops.space();
  const gpu::CacheBlocks cache{.rows = rows_,
                               .table = space.array<std::int32_t>(DeviceArray::kBlockTable),
                               .table_stride = static_cast<std::int32_t>(table_stride),
                               .row_bytes = gpu::cache_row_bytes(shape_)};
  ops.normalize_residual(config_, norm_, n, addition);
  const auto absorbed = [&](const RowRange& all) {
    for_row_ranges(all, [&](RowRange rows) {
      append(ops, rows, cache);
      project_queries(ops, rows);
      absorb(ops, rows);
      attend(ops, rows, cache);
      carry_out(ops, rows);
    });
  };
  if (runs.empty() || decompression_ == nullptr) return absorbed({0, n});
  for (const RowRun& run : runs) {
    if (!run.decompressed) {
      absorbed(run.rows);
      continue;
    }
    for_row_ranges(run.rows, [&](RowRange rows) {
      append(ops, rows, cache);
      project_queries(ops, rows);
      pack_queries(ops, rows);
    });
    attend_prompt(ops, run, cache);
    for_row_ranges(run.rows, [&](RowRange rows) {
      widen(ops, rows);
      project_heads(ops, rows);
    });
  }
}

void DeviceAttention::append(const DeviceOps& ops, RowRange rows, const gpu::CacheBlocks& cache) const {
  const DeviceSpace& space = ops.space();
  const DeviceRows &kv = space.rows(RowBuffer::kKv), input = space.rows(RowBuffer::kInput).from(rows.first);
  ops.multiply({.weight = kv_a_, .acts = input, .out = kv.rows, .out_stride = kv.stride, .n_rows = rows.n});
  const gpu::AppendCacheArgs args{.kv = kv.rows,
                                  .bias = kv_a_bias_,
                                  .norm = kv_a_norm_,
                                  .cos_sin = cos_sin(space, rows, config_.qk_rope_head_dim),
                                  .sequences = space.array<std::int32_t>(DeviceArray::kSequences) + rows.first,
                                  .positions = space.array<std::int32_t>(DeviceArray::kPositions) + rows.first,
                                  .cache = cache,
                                  .shape = shape_,
                                  .kv_stride = kv.stride,
                                  .eps = static_cast<float>(config_.rms_norm_eps),
                                  .n_rows = static_cast<std::int32_t>(rows.n),
                                  .pairs = kPairs};
  ops.device().launch<KernelId::append_cache_rows>(ops.stream(), gpu::append_cache_grid(args), args);
}

void DeviceAttention::project_queries(const DeviceOps& ops, RowRange rows) const {
  const DeviceSpace& space = ops.space();
  const DeviceRows input = space.rows(RowBuffer::kInput).from(rows.first), &q_a = space.rows(RowBuffer::kQA);
  const DeviceRows& query = space.rows(RowBuffer::kQuery);
  const std::int64_t width = config_.n_heads * head_dim(config_);
  if (!q_a_)
    return ops.multiply({.weight = q_, .acts = input, .out = query.rows, .out_stride = width, .n_rows = rows.n});
  ops.multiply({.weight = q_a_, .acts = input, .out = q_a.rows, .out_stride = q_a.stride, .n_rows = rows.n});
  ops.weigh({.x = q_a,
             .out = q_a,
             .weight = q_a_norm_,
             .n_rows = rows.n,
             .n = config_.q_lora_rank,
             .eps = static_cast<float>(config_.rms_norm_eps),
             .bias = q_a_bias_});
  ops.multiply({.weight = q_b_, .acts = q_a, .out = query.rows, .out_stride = width, .n_rows = rows.n});
}

// The first part of each head's query through its k_b, the rotated part behind it.
void DeviceAttention::absorb(const DeviceOps& ops, RowRange rows) const {
  const DeviceSpace& space = ops.space();
  const DeviceRows &query = space.rows(RowBuffer::kQuery), &absorbed = space.rows(RowBuffer::kAbsorbedQuery);
  const std::int64_t heads = config_.n_heads, d = head_dim(config_), width = cache_width(config_);
  ops.quantize(query, rows.n * heads, config_.qk_nope_head_dim);
  ops.multiply({.weight = k_b_,
                .acts = query,
                .out = absorbed.rows,
                .out_stride = heads * width,
                .n_rows = rows.n,
                .with_factors = false,
                .n_groups = heads,
                .act_rows_per_row = heads,
                .act_rows_per_group = 1,
                .out_group_stride = width});
  const gpu::RopeRowsArgs args{.in = query.rows + config_.qk_nope_head_dim,
                               .out = absorbed.rows + config_.kv_lora_rank,
                               .cos_sin = cos_sin(space, rows, config_.qk_rope_head_dim),
                               .in_row_stride = heads * d,
                               .in_head_stride = d,
                               .out_row_stride = heads * width,
                               .out_head_stride = width,
                               .n_rows = static_cast<std::int32_t>(rows.n),
                               .n_heads = static_cast<std::int32_t>(heads),
                               .rope = static_cast<std::int32_t>(config_.qk_rope_head_dim),
                               .pairs = kPairs};
  ops.device().launch<KernelId::rope_rows>(ops.stream(), gpu::rope_rows_grid(args), args);
}

void DeviceAttention::attend(const DeviceOps& ops, RowRange rows, const gpu::CacheBlocks& cache) const {
  const DeviceSpace& space = ops.space();
  const std::int64_t heads = config_.n_heads, latent = config_.kv_lora_rank,
                     most_chunks = std::min<std::int64_t>(kMostChunks, cache.table_stride),
                     results = std::min(rows.n, kCutRows) * most_chunks * heads;
  auto* partials = space.array<float>(DeviceArray::kPartials);
  for (std::int64_t first = 0; first < rows.n; first += kCutRows) {
    const auto count = static_cast<std::int32_t>(std::min(rows.n - first, kCutRows));
    gpu::MlaDecodeArgs args{};
    args.queries = space.rows(RowBuffer::kAbsorbedQuery).rows + first * heads * cache_width(config_);
    args.sequences = space.array<std::int32_t>(DeviceArray::kSequences) + rows.first + first;
    args.positions = space.array<std::int32_t>(DeviceArray::kPositions) + rows.first + first;
    args.cache = cache;
    args.partials = {.max = partials + results * latent, .sum = partials + results * (latent + 1), .acc = partials};
    args.scale = static_cast<float>(config_.softmax_scale(AttentionKind::kMla));
    args.n_rows = count;
    args.n_heads = static_cast<std::int32_t>(heads);
    args.shape = shape_;
    args.arithmetic = arithmetic_;
    args.most_chunks = static_cast<std::int32_t>(most_chunks);
    ops.device().launch(ops.stream(), gpu::mla_decode_kernel(args), gpu::mla_decode_grid(args), &args, sizeof args);
    const gpu::MlaMergeArgs merge{.partials = args.partials,
                                  .positions = args.positions,
                                  .out = space.rows(RowBuffer::kLatent).rows + first * heads * latent,
                                  .n_rows = count,
                                  .n_heads = args.n_heads,
                                  .latent = shape_.latent,
                                  .most_chunks = args.most_chunks};
    ops.device().launch<KernelId::mla_merge>(ops.stream(), gpu::mla_merge_grid(merge), merge);
  }
}

void DeviceAttention::carry_out(const DeviceOps& ops, RowRange rows) const {
  const DeviceSpace& space = ops.space();
  const DeviceRows &latent = space.rows(RowBuffer::kLatent), &heads = space.rows(RowBuffer::kHeads);
  ops.quantize(latent, rows.n * config_.n_heads, config_.kv_lora_rank);
  ops.multiply({.weight = v_b_,
                .acts = latent,
                .out = heads.rows,
                .out_stride = heads.stride,
                .n_rows = rows.n,
                .with_factors = false,
                .n_groups = config_.n_heads,
                .act_rows_per_row = config_.n_heads,
                .act_rows_per_group = 1,
                .out_group_stride = config_.v_head_dim});
  project_heads(ops, rows);
}

void DeviceAttention::project_heads(const DeviceOps& ops, RowRange rows) const {
  const DeviceSpace& space = ops.space();
  const DeviceRows &heads = space.rows(RowBuffer::kHeads), output = space.rows(RowBuffer::kOutput).from(rows.first);
  ops.quantize(heads, rows.n, config_.n_heads * config_.v_head_dim);
  ops.multiply({.weight = output_,
                .acts = heads,
                .out = output.rows,
                .out_stride = output.stride,
                .n_rows = rows.n,
                .with_factors = false});
  if (output_bias_ != nullptr) ops.add(output, output_bias_, 0, rows.n, config_.hidden_size);
}

// ---- decompressed ----------------------------------------------------------------------------------------------------

void DeviceAttention::pack_queries(const DeviceOps& ops, RowRange rows) const {
  const DeviceSpace& space = ops.space();
  const std::int64_t stride = config_.n_heads * head_dim(config_);
  const gpu::PackQueriesArgs args{
      .queries = space.rows(RowBuffer::kQuery).rows,
      .cos_sin = cos_sin(space, rows, config_.qk_rope_head_dim),
      .out = space.array<std::uint16_t>(DeviceArray::kHalfQueries) + rows.first * stride,
      .out_stride = stride,
      .factor = static_cast<float>(config_.softmax_scale(AttentionKind::kMla) * std::numbers::log2e),
      .type = half_type(),
      .pairs = kPairs,
      .n_rows = static_cast<std::int32_t>(rows.n),
      .n_heads = static_cast<std::int32_t>(config_.n_heads),
      .nope = static_cast<std::int32_t>(config_.qk_nope_head_dim),
      .rope = static_cast<std::int32_t>(config_.qk_rope_head_dim)};
  ops.device().launch<KernelId::pack_queries>(ops.stream(), gpu::pack_queries_grid(args), args);
}

void DeviceAttention::attend_prompt(const DeviceOps& ops, const RowRun& run, const gpu::CacheBlocks& cache) const {
  const DeviceSpace& space = ops.space();
  gpu::Device& device = ops.device();
  const std::int64_t width = cache_width(config_), latent = config_.kv_lora_rank, d = head_dim(config_),
                     per_head = config_.qk_nope_head_dim + config_.v_head_dim, stride = config_.n_heads * d;
  auto *const rows = space.array<std::uint16_t>(DeviceArray::kHalfCache), *const keys = space.array<std::uint16_t>(
                                                                              DeviceArray::kHalfKeys);
  const gpu::GatherCacheArgs gather{.cache = cache,
                                    .shape = shape_,
                                    .out = rows,
                                    .type = half_type(),
                                    .sequence = run.sequence,
                                    .n_positions = static_cast<std::int32_t>(run.n_positions)};
  device.launch<KernelId::gather_cache_rows>(ops.stream(), gpu::gather_cache_grid(gather), gather);
  const std::int64_t at_once = decompressed_heads(config_, cache.table_stride * gpu::kCacheBlock);
  for (std::int64_t first = 0; first < config_.n_heads; first += at_once) {
    const std::int64_t n_heads = std::min(at_once, config_.n_heads - first);
    const gpu::MultiplyHalvesArgs make{.a = rows,
                                       .b = decompression_ + first * per_head * latent,
                                       .c = keys,
                                       .a_stride = width,
                                       .b_stride = latent,
                                       .c_stride = n_heads * per_head,
                                       .m = static_cast<std::int32_t>(run.n_positions),
                                       .n = static_cast<std::int32_t>(n_heads * per_head),
                                       .k = static_cast<std::int32_t>(latent)};
    device.launch(ops.stream(),
                  half_type() == gpu::HalfType::kF16 ? KernelId::multiply_halves_f16 : KernelId::multiply_halves_bf16,
                  gpu::multiply_halves_grid(make), &make, sizeof make);
    const gpu::MlaPromptArgs args{
        .queries = space.array<std::uint16_t>(DeviceArray::kHalfQueries) + run.rows.first * stride + first * d,
        .keys = keys,
        .ropes = rows + latent,
        .positions = space.array<std::int32_t>(DeviceArray::kPositions) + run.rows.first,
        .query_stride = stride,
        .key_stride = n_heads * per_head,
        .rope_stride = width,
        .type = half_type(),
        .n_rows = static_cast<std::int32_t>(run.rows.n),
        .n_heads = static_cast<std::int32_t>(n_heads),
        .nope = static_cast<std::int32_t>(config_.qk_nope_head_dim),
        .rope = static_cast<std::int32_t>(config_.qk_rope_head_dim),
        .value = static_cast<std::int32_t>(config_.v_head_dim)};
    device.launch(ops.stream(), gpu::mla_prompt_kernel(args), gpu::mla_prompt_grid(args), &args, sizeof args);
  }
}

void DeviceAttention::widen(const DeviceOps& ops, RowRange rows) const {
  const DeviceSpace& space = ops.space();
  const DeviceRows& heads = space.rows(RowBuffer::kHeads);
  const std::int64_t d = head_dim(config_), stride = config_.n_heads * d;
  const gpu::WidenRowsArgs args{.in = space.array<std::uint16_t>(DeviceArray::kHalfQueries) + rows.first * stride,
                                .out = heads.rows,
                                .in_stride = stride,
                                .group_stride = d,
                                .out_stride = heads.stride,
                                .type = half_type(),
                                .n_rows = static_cast<std::int32_t>(rows.n),
                                .n_groups = static_cast<std::int32_t>(config_.n_heads),
                                .width = static_cast<std::int32_t>(config_.v_head_dim)};
  ops.device().launch<KernelId::widen_rows>(ops.stream(), gpu::widen_rows_grid(args), args);
}

}  // namespace dodeca::runtime::device
