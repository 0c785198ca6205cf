#include "runtime/exec/attention_decompressed.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "cpu/kernels/attention/integer.hpp"
#include "runtime/exec/multiply.hpp"

namespace dodeca::runtime::exec {
namespace {

using cpu::IntegerShape;

constexpr std::int64_t kColumns = 64;     // of a weight that are read out together
constexpr std::int64_t kLeastRows = 512;  // of a part, where a head's rows are dealt to several members

std::int64_t strips_of(std::int64_t lanes) { return (lanes + cpu::kStripLanes - 1) / cpu::kStripLanes; }

// The shapes of one layer: the latent chunk, and what is made of it.
struct Shapes {
  IntegerShape latents, weights, head;

  Shapes(const ModelConfig& c, cpu::Digits digits)
      : latents{digits, c.kv_lora_rank, c.qk_rope_head_dim, 0},
        weights{digits, c.kv_lora_rank, 0, 0},
        head{digits, c.qk_nope_head_dim, c.qk_rope_head_dim, c.v_head_dim} {}
};

// The parts of a thread's work space.
struct Space {
  std::size_t acts, floats, key_strips, value_strips, latents, made, chunk, query_strips, visible, max, sum, acc, total;

  Space(const ModelConfig& c, std::int64_t rows) {
    const Shapes shapes(c, cpu::Digits::k16);
    const auto z = [](std::int64_t n) { return static_cast<std::size_t>(n); };
    const std::int64_t made_width = c.qk_nope_head_dim + c.v_head_dim;
    BufferParts parts;
    acts =
        parts.take(kColumns * cpu::act_row_bytes(cpu::ActFormat::kF32, std::max(c.kv_lora_rank, c.qk_nope_head_dim)));
    // Keys or values, then a few columns; the unit vectors begin where columns come later.
    const std::int64_t widest = std::max({c.kv_lora_rank, c.qk_nope_head_dim, c.v_head_dim});
    floats =
        parts.take(sizeof(float) * z(c.kv_lora_rank * std::max(c.qk_nope_head_dim, c.v_head_dim) + kColumns * widest));
    key_strips = parts.take(z(strips_of(c.qk_nope_head_dim)) * cpu::strip_bytes(shapes.weights));
    value_strips = parts.take(z(strips_of(c.v_head_dim)) * cpu::strip_bytes(shapes.weights));
    latents = parts.take(cpu::ChunkLayout(shapes.latents).total);
    made = parts.take(sizeof(float) * z(cpu::kChunkPositions * made_width));
    chunk = parts.take(cpu::ChunkLayout(shapes.head).total);
    query_strips = parts.take(z(strips_of(rows)) * cpu::strip_bytes(shapes.head));
    visible = parts.take(sizeof(std::int32_t) * z(rows));
    max = parts.take(sizeof(float) * z(rows));
    sum = parts.take(sizeof(float) * z(rows));
    acc = parts.take(sizeof(float) * z(rows * c.v_head_dim));
    total = parts.total();
  }
};

// Consecutive prompt rows of one sequence; `index` counts the runs of a pass.
struct Run {
  std::int64_t first, count, index = 0;
};

// Where the masks of the strip of rows from `row` of a run on lie: strips of several runs are all different.
std::uint16_t* masks_of(const Pass& pass, const Run& run, std::int64_t row) {
  constexpr std::int64_t kLanes = cpu::kStripLanes;
  return pass.space.array<std::uint16_t>(ArrayBuffer::kMasks) +
         (row + (kLanes - 1) * run.index) / kLanes * masked_positions(pass.config);
}
// Positions only grow: the last row tells.
bool has_masks(const Pass& pass, const Run& run) { return pass.is_sparse(run.first + run.count - 1); }

// The run that begins at or after row `from`; count 0 past the last.
Run run_from(const Pass& pass, const LatentAttention& attention, std::int64_t from) {
  while (from < pass.n() && !attention.is_decompressed(pass, from)) ++from;
  Run run{from, 0};
  while (from < pass.n() && attention.is_decompressed(pass, from) &&
         pass.row(from).sequence == pass.row(run.first).sequence)
    ++from;
  run.count = from - run.first;
  return run;
}
Run first_run(const Pass& pass, const LatentAttention& attention) { return run_from(pass, attention, 0); }
Run next_run(const Pass& pass, const LatentAttention& attention, const Run& run) {
  Run next = run_from(pass, attention, run.first + run.count);
  next.index = run.index + 1;
  return next;
}

// One head of some rows of a run.
class DecompressedUnit {
 public:
  DecompressedUnit(const Pass& pass, const cpu::Member& member, const LatentAttention& attention, std::int64_t head)
      : pass_(pass),
        member_(member),
        attention_(attention),
        head_(head),
        format_(pass.cache.format(attention.layer())),
        shapes_(pass.config, format_.integer->digits),
        kernels_(cpu::integer_attention(pass.isa)),
        at_(pass.config, pass.n()) {}

  // Some rows of a run, from the beginning of a strip on.
  void run(Run rows, bool masked) noexcept {
    const ModelConfig& c = pass_.config;
    masks_ = masked ? masks_of(pass_, rows, rows.first) : nullptr;
    pack_weights();
    const std::int64_t head_dim = c.qk_nope_head_dim + c.qk_rope_head_dim;
    const Activations& q = pass_.buffer(RowBuffer::kQuery);
    kernels_.pack_queries({shapes_.head, q.row(rows.first) + head_ * head_dim, q.stride_floats(), rows.count,
                           static_cast<float>(c.softmax_scale(AttentionKind::kMla)), part(at_.query_strips)});
    std::fill_n(floats(at_.max), rows.count, -std::numeric_limits<float>::infinity());
    std::fill_n(floats(at_.sum), rows.count, 0.0f);
    std::fill_n(floats(at_.acc), rows.count * c.v_head_dim, 0.0f);
    const std::int64_t start = pass_.row(rows.first).position, end = start + rows.count;
    for (std::int64_t position = 0; position < end; position += cpu::kChunkPositions)
      fold_chunk(rows, start, position, std::min<std::int64_t>(cpu::kChunkPositions, end - position));
    for (std::int64_t i = 0; i < rows.count; ++i) {
      float* out = attention_.result(pass_, head_, rows.first + i);
      const float* acc = floats(at_.acc) + i * c.v_head_dim;
      const float inverse = 1.0f / floats(at_.sum)[i];
      for (std::int64_t v = 0; v < c.v_head_dim; ++v) out[v] = acc[v] * inverse;
    }
  }

 private:
  std::byte* part(std::size_t offset) const { return pass_.space.scratch(member_, ThreadBuffer::kAttention) + offset; }
  float* floats(std::size_t offset) const { return reinterpret_cast<float*>(part(offset)); }

  // `count` columns, kColumns at most, of the head's slice into rows of n_out floats: products with unit vectors.
  void columns(const PackedMatrix& weight, std::int64_t begin, std::int64_t count, float* out) noexcept {
    const cpu::ActFormat format = weight.layout->act;
    const std::size_t stride = cpu::act_row_bytes(format, weight.n_in);
    float* unit = out;  // still free
    std::fill_n(unit, weight.n_in, 0.0f);
    for (std::int64_t i = 0; i < count; ++i) {
      unit[begin + i] = 1.0f;
      cpu::quantize_act(format, unit, weight.n_in, part(at_.acts) + static_cast<std::size_t>(i) * stride, pass_.isa);
      unit[begin + i] = 0.0f;
    }
    multiply({.weight = weight,
              .slice = attention_.head(head_).index,
              .tile_begin = 0,
              .tile_end = weight.n_tiles,
              .acts = part(at_.acts),
              .act_stride = stride,
              .n_acts = count,
              .out = out,
              .out_stride = weight.n_out,
              .scratch = pass_.space.scratch(member_, ThreadBuffer::kMatmul),
              .prompt = true});
  }

  // Both weights as the queries of a product with the latent rows: a lane for each number of a key or value.
  void pack_weights() noexcept {
    const PackedMatrix &k_b = attention_.k_b(head_), &v_b = attention_.v_b(head_);
    const std::int64_t latent = shapes_.weights.key;
    float* rows = floats(at_.floats);
    for (std::int64_t d = 0; d < k_b.n_in; d += kColumns)
      columns(k_b, d, std::min(kColumns, k_b.n_in - d), rows + d * latent);
    kernels_.pack_queries({shapes_.weights, rows, latent, k_b.n_in, 1.0f, part(at_.key_strips)});
    float* staged = rows + v_b.n_out * latent;
    for (std::int64_t l = 0; l < latent; l += kColumns) {
      const std::int64_t count = std::min(kColumns, latent - l);
      columns(v_b, l, count, staged);
      for (std::int64_t v = 0; v < v_b.n_out; ++v) {
        for (std::int64_t i = 0; i < count; ++i) rows[v * latent + l + i] = staged[i * v_b.n_out + v];
      }
    }
    kernels_.pack_queries({shapes_.weights, rows, latent, v_b.n_out, 1.0f, part(at_.value_strips)});
  }

  // n positions from `position` on, for those of the rows that see them.
  void fold_chunk(Run rows, std::int64_t start, std::int64_t position, std::int64_t n) noexcept {
    const ModelConfig& c = pass_.config;
    const std::int64_t width = c.qk_nope_head_dim + c.v_head_dim;
    const std::int32_t sequence = pass_.row(rows.first).sequence;
    const std::byte* blocks[cpu::kChunkPositions / cpu::kWeightBlock];
    for (std::int64_t i = 0; i < n; i += cpu::kWeightBlock)
      blocks[i / cpu::kWeightBlock] =
          pass_.cache.block(attention_.layer(), sequence, position + i, attention_.head(head_).part);
    kernels_.load_cache({shapes_.latents, format_.dtype, blocks, format_.row_bytes, n, part(at_.latents)});
    float* made = floats(at_.made);
    kernels_.project({shapes_.latents, part(at_.key_strips), c.qk_nope_head_dim, part(at_.latents), n, made, width});
    kernels_.project({shapes_.latents, part(at_.value_strips), c.v_head_dim, part(at_.latents), n,
                      made + c.qk_nope_head_dim, width});
    kernels_.load_head(
        {shapes_.head, made, made + c.qk_nope_head_dim, width, n, part(at_.latents), shapes_.latents, part(at_.chunk)});
    // Whole strips of rows that see none of it are left out.
    const std::int64_t first = std::max<std::int64_t>(position - start, 0) / cpu::kStripLanes * cpu::kStripLanes;
    auto* visible = reinterpret_cast<std::int32_t*>(part(at_.visible));
    for (std::int64_t i = first; i < rows.count; ++i)
      visible[i] = static_cast<std::int32_t>(std::clamp<std::int64_t>(start + i + 1 - position, 0, n));
    kernels_.fold(
        {.shape = shapes_.head,
         .queries = part(at_.query_strips) +
                    static_cast<std::size_t>(first / cpu::kStripLanes) * cpu::strip_bytes(shapes_.head),
         .n_lanes = rows.count - first,
         .chunk = part(at_.chunk),
         .n = n,
         .visible = visible + first,
         .max = floats(at_.max) + first,
         .sum = floats(at_.sum) + first,
         .acc = floats(at_.acc) + first * c.v_head_dim,
         .acc_stride = c.v_head_dim,
         .masks = masks_ == nullptr ? nullptr : masks_ + first / cpu::kStripLanes * masked_positions(c) + position,
         .mask_stride = masked_positions(c)});
  }

  const Pass& pass_;
  const cpu::Member& member_;
  const LatentAttention& attention_;
  const std::int64_t head_;
  const RowFormat& format_;
  const Shapes shapes_;
  const cpu::IntegerAttention& kernels_;
  const Space at_;
  const std::uint16_t* masks_ = nullptr;  // of the rows' first strip; null: every position counts
};

}  // namespace

std::int64_t masked_positions(const ModelConfig& c) {
  return 3 * ((c.indexer.top_k + cpu::kChunkPositions - 1) / cpu::kChunkPositions * cpu::kChunkPositions);
}

void demand_masks(const ModelConfig& c, const RunSizes& sizes, Demand& demand) {
  if (may_be_sparse(c, sizes.n_positions))
    demand.array(ArrayBuffer::kMasks, sizes.micro_batch * masked_positions(c), sizeof(std::uint16_t));
}

void mark_chosen(const Pass& pass, const cpu::Member& member, const LatentAttention& attention) noexcept {
  std::int64_t strip = 0;
  for (Run run = first_run(pass, attention); run.count > 0; run = next_run(pass, attention, run)) {
    if (!has_masks(pass, run)) continue;
    for (std::int64_t row = 0; row < run.count; row += cpu::kStripLanes) {
      if (strip++ % member.size != member.index) continue;
      const std::int64_t lanes = std::min<std::int64_t>(cpu::kStripLanes, run.count - row);
      std::uint16_t* masks = masks_of(pass, run, run.first + row);
      std::uint16_t dense = 0;
      for (std::int64_t lane = 0; lane < lanes; ++lane)
        dense |= static_cast<std::uint16_t>((pass.is_sparse(run.first + row + lane) ? 0 : 1) << lane);
      std::fill_n(masks, pass.row(run.first + row + lanes - 1).position + 1, dense);
      for (std::int64_t lane = 0; lane < lanes; ++lane) {
        const std::int64_t i = run.first + row + lane;
        if (!pass.is_sparse(i)) continue;
        const std::int32_t* chosen = pass.chosen(i);
        const auto bit = static_cast<std::uint16_t>(1u << lane);
        for (std::int64_t k = 0; k < pass.config.indexer.top_k; ++k) masks[chosen[k]] |= bit;
      }
    }
  }
}

std::size_t decompressed_scratch_bytes(const ModelConfig& c, std::int64_t micro_batch) {
  return Space(c, micro_batch).total;
}

void attend_decompressed(const Pass& pass, const cpu::Member& member, const LatentAttention& attention,
                         cpu::CrewCounters& counters) noexcept {
  const cpu::CrewPlace& place = pass.crews.place(member);
  cpu::WorkCounter& next = counters.of(place);
  const Span own = attention.heads(place);
  const std::int64_t heads = own.size();
  std::int64_t u = next.take(), first = 0;
  for (Run run = first_run(pass, attention); run.count > 0; run = next_run(pass, attention, run)) {
    // Members share a head's rows where there are few heads for them; each then makes the keys and values again.
    std::int64_t parts = 1;
    while (heads * parts < 3 * place.size && run.count / (parts + 1) >= kLeastRows) ++parts;
    for (; u < first + heads * parts; u = next.take()) {
      // Later rows see more: taking them first balances the members.
      const std::int64_t mine = parts - 1 - (u - first) / heads;
      const auto edge = [&](std::int64_t part) {  // whole strips
        return part == parts ? run.count : run.count * part / parts / cpu::kStripLanes * cpu::kStripLanes;
      };
      const std::int64_t begin = edge(mine), end = edge(mine + 1);
      DecompressedUnit(pass, member, attention, own.begin + (u - first) % heads)
          .run({run.first + begin, end - begin, run.index}, has_masks(pass, run));
    }
    first += heads * parts;
  }
}

}  // namespace dodeca::runtime::exec
