#include "runtime/exec/attention_absorbed.hpp"

#include <algorithm>
#include <cstring>

#include "cpu/kernels/attention/attention.hpp"
#include "cpu/kernels/attention/integer.hpp"
#include "runtime/exec/softmax_state.hpp"

namespace dodeca::runtime::exec {

namespace {

// (row, head) pairs of one work unit at most; a unit of one row takes many heads, one of many rows few.
constexpr std::int64_t kUnitLanes = 256;
constexpr std::int64_t kLeastHeads = 16;
static_assert(kUnitLanes / kRowGroup >= kLeastHeads);

cpu::IntegerShape widest_shape(const ModelConfig& c) {
  return {cpu::Digits::k16, c.kv_lora_rank, c.qk_rope_head_dim, c.kv_lora_rank};
}
std::int64_t n_strips(const ModelConfig& c) { return (c.n_heads + cpu::kStripLanes - 1) / cpu::kStripLanes; }

// The parts of a thread's work space.
struct Space {
  std::size_t q, state[2], block, scores, strips, chunk, visible, gathered, total;

  explicit Space(const ModelConfig& c) {
    const auto value = static_cast<std::size_t>(c.kv_lora_rank), lanes = static_cast<std::size_t>(kUnitLanes),
               width = value + static_cast<std::size_t>(c.qk_rope_head_dim);
    const cpu::IntegerShape shape = widest_shape(c);
    BufferParts parts;
    q = parts.take(lanes * width * sizeof(float));
    for (std::size_t& s : state) s = parts.take(lanes * (2 + value) * sizeof(float));
    block = parts.take(cpu::kContextBlock * width * sizeof(float));
    scores = parts.take(lanes * cpu::kContextBlock * sizeof(float));
    strips = parts.take(lanes / cpu::kStripLanes * cpu::strip_bytes(shape));
    chunk = parts.take(cpu::ChunkLayout(shape).total);
    visible = parts.take(lanes * sizeof(std::int32_t));
    // Of the widest type.
    gathered = parts.take(c.indexer.n_heads > 0 ? cpu::kChunkPositions * width * sizeof(float) : 0);
    total = parts.total();
  }
};

// Packed queries of a strip of heads of row i; strips of a row follow each other.
std::byte* packed_strip(const Pass& pass, std::int64_t layer, std::int64_t i, std::int64_t strip) {
  return pass.space.array<std::byte>(ArrayBuffer::kQueryStrips) +
         static_cast<std::size_t>(i * n_strips(pass.config) + strip) *
             cpu::strip_bytes(*pass.cache.format(layer).integer);
}

// One unit: the rows of a group x some heads, over context chunks.
class AbsorbedUnit {
 public:
  AbsorbedUnit(const Pass& pass, std::byte* scratch, const LatentAttention& attention, const RowGroup& group,
               Span heads)
      : pass_(pass),
        layer_(attention.layer()),
        part_(attention.head(heads.begin).part),
        group_(group),
        heads_(heads),
        n_heads_(heads.size()),
        value_(pass.config.kv_lora_rank),
        width_(value_ + pass.config.qk_rope_head_dim),
        chosen_(pass.is_sparse(group.first) ? pass.chosen(group.first) : nullptr),
        cut_(cut_of(pass, group)),
        length_(cut_.length),
        scale_(static_cast<float>(pass.config.softmax_scale(AttentionKind::kMla))),
        format_(pass.cache.format(layer_)),
        kernels_(cpu::integer_attention(pass.isa)) {
    const Space at(pass.config);
    const Activations& queries = pass.buffer(RowBuffer::kAbsorbedQuery);
    block_ = reinterpret_cast<float*>(scratch + at.block);
    scores_ = reinterpret_cast<float*>(scratch + at.scores);
    strips_ = scratch + at.strips;
    chunk_rows_ = scratch + at.chunk;
    visible_ = reinterpret_cast<std::int32_t*>(scratch + at.visible);
    gathered_ = scratch + at.gathered;
    chunk_ = state(scratch + at.state[0]);
    running_ = state(scratch + at.state[1]);
    q_ = queries.row(group.first) + heads.begin * width_;
    if (group.count > 1) {
      auto* q = reinterpret_cast<float*>(scratch + at.q);
      for (std::int64_t r = 0; r < group.count; ++r) {
        std::memcpy(q + r * n_heads_ * width_, queries.row(group.first + r) + heads.begin * width_,
                    static_cast<std::size_t>(n_heads_ * width_) * sizeof(float));
      }
      q_ = q;
    }
    if (!format_.integer) return;
    if (pass.few() && group.count == 1)
      strips_ = packed_strip(pass, layer_, group.first, heads.begin / cpu::kStripLanes);
    else
      kernels_.pack_queries({*format_.integer, q_, width_, group.count * n_heads_, scale_, strips_});
  }

  // All chunks, merged in order, result divided by its sum into `latent`.
  void run() noexcept {
    for (std::int64_t chunk = 0; chunk < cut_.count; ++chunk) {
      fold_chunk(chunk, chunk == 0 ? running_ : chunk_);
      if (chunk == 0) continue;
      for (std::int64_t r = 0; r < group_.count; ++r) {
        if (visible(r, chunk)) merge_softmax(row_state(running_, r), row_state(chunk_, r), n_heads_, value_);
      }
    }
    for (std::int64_t r = 0; r < group_.count; ++r)
      write_result(pass_, group_.first + r, heads_, row_state(running_, r));
  }

  // One chunk, into the partial results.
  void run_partial(std::int64_t chunk) noexcept {
    fold_chunk(chunk, chunk_);
    for (std::int64_t r = 0; r < group_.count; ++r) {
      if (!visible(r, chunk)) continue;
      const SoftmaxState to = partial(pass_, group_.first + r, chunk, heads_.begin), from = row_state(chunk_, r);
      std::memcpy(to.max, from.max, static_cast<std::size_t>(n_heads_) * sizeof(float));
      std::memcpy(to.sum, from.sum, static_cast<std::size_t>(n_heads_) * sizeof(float));
      std::memcpy(to.acc, from.acc, static_cast<std::size_t>(n_heads_ * value_) * sizeof(float));
    }
  }

  static SoftmaxState partial(const Pass& pass, std::int64_t row, std::int64_t chunk, std::int64_t head) noexcept {
    const std::int64_t heads = pass.config.n_heads, value = pass.config.kv_lora_rank;
    DODECA_CHECK(
        static_cast<std::size_t>((pass.first_partial[row] + chunk + 1) * heads * (2 + value)) * sizeof(float) <=
            pass.space.array_bytes(ArrayBuffer::kPartials),
        row, chunk, pass.first_partial[row]);
    float* base =
        pass.space.array<float>(ArrayBuffer::kPartials) + (pass.first_partial[row] + chunk) * heads * (2 + value);
    return {base + head, base + heads + head, base + 2 * heads + head * value};
  }

  static void write_result(const Pass& pass, std::int64_t row, Span heads, const SoftmaxState& state) noexcept {
    const std::int64_t value = pass.config.kv_lora_rank;
    float* out = pass.buffer(RowBuffer::kLatent).row(row) + heads.begin * value;
    for (std::int64_t h = 0; h < heads.size(); ++h) {
      const float inverse = 1.0f / state.sum[h];
      for (std::int64_t i = 0; i < value; ++i) out[h * value + i] = state.acc[h * value + i] * inverse;
    }
  }

 private:
  // A prompt's rows are many: nobody else works on a row's heads, and its chosen context is not cut.
  static ContextCut cut_of(const Pass& pass, const RowGroup& group) {
    const std::int64_t last = pass.last_attended(group.first + group.count - 1);
    if (pass.is_sparse(group.first) && pass.row(group.first).prompt) return {last + 1, 1};
    return context_cut(pass.config, last);
  }
  static SoftmaxState state(std::byte* base) {
    auto* floats = reinterpret_cast<float*>(base);
    return {floats, floats + kUnitLanes, floats + 2 * kUnitLanes};
  }
  SoftmaxState row_state(const SoftmaxState& s, std::int64_t r) const {
    return {s.max + r * n_heads_, s.sum + r * n_heads_, s.acc + r * n_heads_ * value_};
  }
  const Row& row(std::int64_t r) const { return pass_.row(group_.first + r); }
  std::int64_t attended(std::int64_t r) const { return pass_.last_attended(group_.first + r); }
  std::int64_t last_attended() const { return attended(group_.count - 1); }
  bool visible(std::int64_t r, std::int64_t chunk) const { return attended(r) >= chunk * length_; }
  // Cached rows from a position on, as far as its block of the cache reaches.
  const std::byte* rows_at(std::int64_t position) const {
    const std::int64_t inside = position % cpu::kContextBlock;
    return pass_.cache.block(layer_, row(0).sequence, position - inside, part_) +
           static_cast<std::size_t>(inside) * format_.row_bytes;
  }
  // n rows of a sparse row's context, one behind the other.
  void gather(std::int64_t position, std::int64_t n) noexcept {
    constexpr std::int64_t kAhead = 4;  // rows on their way to the cache
    const auto at = [&](std::int64_t i) { return rows_at(chosen_[position + i]); };
    for (std::int64_t i = 0; i < n; ++i) {
      if (i + kAhead < n) {
        const std::byte* next = at(i + kAhead);
        for (std::size_t byte = 0; byte < format_.row_bytes; byte += 64) __builtin_prefetch(next + byte);
      }
      std::memcpy(gathered_ + static_cast<std::size_t>(i) * format_.row_bytes, at(i), format_.row_bytes);
    }
  }
  // Gathered rows lie in one piece.
  std::int64_t step(std::int64_t position, std::int64_t end, std::int64_t most) const {
    return chosen_ == nullptr ? positions_at_once(position, end, most) : std::min(end - position, most);
  }

  void fold_chunk(std::int64_t chunk, const SoftmaxState& to) noexcept {
    const std::int64_t m = group_.count * n_heads_;
    clear_softmax(to, m, value_);
    const std::int64_t begin = chunk * length_;
    const std::int64_t end = std::min<std::int64_t>(begin + length_, last_attended() + 1);
    if (format_.integer)
      fold_integers(begin, end, to);
    else
      fold_floats(begin, end, to);
  }

  void fold_integers(std::int64_t begin, std::int64_t end, const SoftmaxState& to) noexcept {
    for (std::int64_t position = begin, n = 0; position < end; position += n) {
      n = step(position, end, cpu::kChunkPositions);
      const std::byte* blocks[cpu::kChunkPositions / cpu::kWeightBlock];
      if (chosen_ != nullptr) gather(position, n);
      for (std::int64_t i = 0; i < n; i += cpu::kWeightBlock)
        blocks[i / cpu::kWeightBlock] =
            chosen_ == nullptr ? rows_at(position + i) : gathered_ + static_cast<std::size_t>(i) * format_.row_bytes;
      kernels_.load_cache({*format_.integer, format_.dtype, blocks, format_.row_bytes, n, chunk_rows_});
      for (std::int64_t r = 0; r < group_.count; ++r) {
        const std::int64_t seen = std::clamp<std::int64_t>(attended(r) + 1 - position, 0, n);
        std::fill_n(visible_ + r * n_heads_, n_heads_, static_cast<std::int32_t>(seen));
      }
      // What is loaded next: the rest of this chunk, or the next one, which this member probably takes then.
      const std::byte* ahead[cpu::kChunkPositions / cpu::kWeightBlock];
      std::int64_t n_ahead = 0;
      const std::int64_t next = (position + n + cpu::kWeightBlock - 1) / cpu::kWeightBlock * cpu::kWeightBlock;
      for (std::int64_t i = 0; chosen_ == nullptr && i < cpu::kChunkPositions && next + i <= last_attended();
           i += cpu::kWeightBlock)
        ahead[n_ahead++] = rows_at(next + i);
      kernels_.fold({.shape = *format_.integer,
                     .queries = strips_,
                     .n_lanes = group_.count * n_heads_,
                     .chunk = chunk_rows_,
                     .n = n,
                     .visible = visible_,
                     .max = to.max,
                     .sum = to.sum,
                     .acc = to.acc,
                     .acc_stride = value_,
                     .ahead = ahead,
                     .n_ahead = n_ahead,
                     .ahead_bytes = cpu::kWeightBlock * format_.row_bytes});
    }
  }

  void fold_floats(std::int64_t begin, std::int64_t end, const SoftmaxState& to) noexcept {
    for (std::int64_t position = begin, n = 0; position < end; position += n) {
      n = step(position, end, cpu::kContextBlock);
      if (chosen_ != nullptr) gather(position, n);
      const std::byte* rows = chosen_ == nullptr ? rows_at(position) : gathered_;
      cpu::decode_cache_rows({format_.dtype, rows, format_.row_bytes, n, width_}, block_, pass_.isa);
      if (attended(0) + 1 >= position + n) {  // every row sees the whole block: one matrix of rows * heads
        fold_block(0, group_.count * n_heads_, n, to);
        continue;
      }
      for (std::int64_t r = 0; r < group_.count; ++r) {
        const std::int64_t seen = std::min(n, attended(r) + 1 - position);
        if (seen > 0) fold_block(r * n_heads_, n_heads_, seen, to);
      }
    }
  }

  void fold_block(std::int64_t first, std::int64_t m, std::int64_t n_positions, const SoftmaxState& to) noexcept {
    cpu::mla_block({.q = q_ + first * width_,
                    .n_heads = m,
                    .width = width_,
                    .value_width = value_,
                    .rows = block_,
                    .n_positions = n_positions,
                    .scale = scale_,
                    .max = to.max + first,
                    .sum = to.sum + first,
                    .acc = to.acc + first * value_,
                    .scratch = scores_},
                   pass_.isa);
  }

  const Pass& pass_;
  const std::int64_t layer_;
  const std::size_t part_;
  const RowGroup group_;
  const Span heads_;
  const std::int64_t n_heads_, value_, width_;
  const std::int32_t* const chosen_;  // of a sparse row: its context
  const ContextCut cut_;
  const std::int64_t length_;
  const float scale_;
  const RowFormat& format_;
  const cpu::IntegerAttention& kernels_;
  const float* q_;
  float *block_, *scores_;
  std::byte *strips_, *chunk_rows_, *gathered_;
  std::int32_t* visible_;
  SoftmaxState chunk_, running_;
};

// Groups of prompt rows alone are left to the decompressed form.
bool is_absorbed(const Pass& pass, const LatentAttention& attention, const RowGroup& group) {
  for (std::int64_t r = 0; r < group.count; ++r) {
    if (!attention.is_decompressed(pass, group.first + r)) return true;
  }
  return false;
}

std::int64_t partial_floats(const ModelConfig& c) { return c.n_heads * (2 + c.kv_lora_rank); }

}  // namespace

std::size_t absorbed_scratch_bytes(const ModelConfig& c) { return Space(c).total; }

void demand_partials(const ModelConfig& c, const RunSizes& sizes, Demand& demand) {
  demand.array(ArrayBuffer::kQueryStrips, std::min(sizes.micro_batch, kFewRows) * n_strips(c),
               cpu::strip_bytes(widest_shape(c)));
  demand.blocks(n_strips(c));
  demand.array(ArrayBuffer::kPartials,
               std::min(sizes.micro_batch, kFewRows) * most_chunks(c, sizes.n_positions) * partial_floats(c),
               sizeof(float));
}

void list_chunks(const Pass& pass, const LatentAttention& attention, std::vector<ContextChunk>& chunks,
                 std::vector<TileLoad>& loads) {
  chunks.clear();
  loads.clear();
  const std::vector<Span>& strips = attention.weights().strips_of;
  for (std::size_t part = 0; part < strips.size(); ++part) {
    for (std::size_t g = 0; g < pass.groups.size() && strips[part].size() > 0; ++g) {
      const std::int64_t last = pass.last_attended(pass.groups[g].first + pass.groups[g].count - 1);
      const ContextCut cut = context_cut(pass.config, last);
      for (std::int64_t c = 0; c < cut.count; ++c) {
        chunks.push_back({g, c, strips[part].begin});
        // The last one counts as much as the others, so that members get whole units where there is one for each.
        loads.push_back({.n_tiles = strips[part].size(),
                         .tile_bytes = static_cast<std::uint64_t>(cut.length),
                         .part = static_cast<std::int32_t>(part)});
      }
    }
  }
}

void pack_strip(const Pass& pass, std::int64_t layer, std::int64_t strip) noexcept {
  const ModelConfig& c = pass.config;
  const RowFormat& format = pass.cache.format(layer);
  if (!format.integer) return;
  const std::int64_t width = c.kv_lora_rank + c.qk_rope_head_dim, head = strip * cpu::kStripLanes;
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    cpu::integer_attention(pass.isa).pack_queries(
        {*format.integer, pass.buffer(RowBuffer::kAbsorbedQuery).row(i) + head * width, width,
         std::min<std::int64_t>(cpu::kStripLanes, c.n_heads - head),
         static_cast<float>(c.softmax_scale(AttentionKind::kMla)), packed_strip(pass, layer, i, strip)});
  }
}

void attend_chunk(const Pass& pass, const cpu::Member& member, const LatentAttention& attention,
                  const ContextChunk& chunk, const cpu::Range& strips) noexcept {
  std::byte* scratch = pass.space.scratch(member, ThreadBuffer::kAttention);
  const RowGroup& group = pass.groups[chunk.group];
  const std::int64_t begin = (chunk.first_strip + strips.begin) * cpu::kStripLanes,
                     end = std::min(pass.config.n_heads, (chunk.first_strip + strips.end) * cpu::kStripLanes),
                     unit = kUnitLanes / group.count / cpu::kStripLanes * cpu::kStripLanes;
  for (std::int64_t head = begin; head < end; head += unit)
    AbsorbedUnit(pass, scratch, attention, group, {head, std::min(end, head + unit)}).run_partial(chunk.index);
}

void attend_absorbed(const Pass& pass, const cpu::Member& member, const LatentAttention& attention,
                     cpu::CrewCounters& counters) noexcept {
  const cpu::CrewPlace& place = pass.crews.place(member);
  cpu::WorkCounter& next = counters.of(place);
  const Span heads = attention.heads(place);
  const std::int64_t wanted = 4 * place.size, n_groups = static_cast<std::int64_t>(pass.groups.size());
  std::int64_t most_rows = 1;
  for (const RowGroup& group : pass.groups) most_rows = std::max(most_rows, group.count);
  // Many heads per unit share the loading of a chunk; fewer make more units.
  std::int64_t per_unit = std::max<std::int64_t>(1, std::min(heads.size(), kUnitLanes / most_rows));
  const auto head_units = [&] { return (heads.size() + per_unit - 1) / per_unit; };
  while (per_unit > kLeastHeads && n_groups * head_units() < wanted)
    per_unit = std::max(kLeastHeads, (per_unit / 2 + kLeastHeads - 1) / kLeastHeads * kLeastHeads);
  const std::int64_t units = head_units();
  std::byte* scratch = pass.space.scratch(member, ThreadBuffer::kAttention);
  for (std::int64_t u = next.take(); u < n_groups * units; u = next.take()) {
    // Later groups see more context: taking them first balances the members.
    const RowGroup& group = pass.groups[n_groups - 1 - u / units];
    const std::int64_t head = heads.begin + u % units * per_unit;
    if (is_absorbed(pass, attention, group))
      AbsorbedUnit(pass, scratch, attention, group, {head, std::min(heads.end, head + per_unit)}).run();
  }
}

const float* absorbed_result(const Pass& pass, const cpu::Member& member, std::int64_t head, std::int64_t i,
                             bool keep) noexcept {
  const std::int64_t value = pass.config.kv_lora_rank;
  float* latent = pass.buffer(RowBuffer::kLatent).row(i) + head * value;
  if (!pass.few()) return latent;
  auto* scratch = reinterpret_cast<float*>(pass.space.scratch(member, ThreadBuffer::kAttention));
  const SoftmaxState merged{scratch, scratch + 1, scratch + 2}, first = AbsorbedUnit::partial(pass, i, 0, head);
  *merged.max = *first.max;
  *merged.sum = *first.sum;
  std::copy_n(first.acc, value, merged.acc);
  for (std::int64_t chunk = 1; chunk < context_cut(pass.config, pass.last_attended(i)).count; ++chunk)
    merge_softmax(merged, AbsorbedUnit::partial(pass, i, chunk, head), 1, value);
  const float inverse = 1.0f / *merged.sum;
  for (std::int64_t v = 0; v < value; ++v) merged.acc[v] *= inverse;
  if (keep) std::copy_n(merged.acc, value, latent);
  return merged.acc;
}

}  // namespace dodeca::runtime::exec
