#include "runtime/exec/attention_grouped.hpp"

#include <cstring>

#include "cpu/kernels/attention/attention.hpp"
#include "cpu/kernels/attention/integer.hpp"

namespace dodeca::runtime::exec {
namespace {

using quant::DType;

std::int64_t most_lanes(const ModelConfig& c) { return kRowGroup * (c.n_heads / c.n_kv_heads); }

// The parts of a thread's work space.
struct Space {
  std::size_t q, state[2], keys, values, scores, strips, chunk, visible, hidden, total;

  explicit Space(const ModelConfig& c) {
    const auto lanes = static_cast<std::size_t>(most_lanes(c)), dim = static_cast<std::size_t>(c.head_dim);
    const cpu::IntegerShape shape{cpu::Digits::k16, (c.head_dim + 31) / 32 * 32, 0, (c.head_dim + 31) / 32 * 32};
    BufferParts parts;
    q = parts.take(lanes * dim * sizeof(float));
    for (std::size_t& s : state) s = parts.take(lanes * (2 + dim) * sizeof(float));
    keys = parts.take(cpu::kContextBlock * dim * sizeof(float));
    values = parts.take(cpu::kContextBlock * dim * sizeof(float));
    scores = parts.take(lanes * cpu::kContextBlock * sizeof(float));
    strips = parts.take((lanes + cpu::kStripLanes - 1) / cpu::kStripLanes * cpu::strip_bytes(shape));
    chunk = parts.take(cpu::ChunkLayout(shape).total);
    visible = parts.take(lanes * sizeof(std::int32_t));
    hidden = parts.take(lanes * sizeof(std::int32_t));
    total = parts.total();
  }
};

std::int64_t partial_floats(const ModelConfig& c) { return c.n_heads * (2 + c.head_dim); }

// A query head's result of a chunk; `chunk` counts among those of all rows.
SoftmaxState partial(const Pass& pass, std::int64_t chunk, std::int64_t query_head) noexcept {
  const std::int64_t heads = pass.config.n_heads, dim = pass.config.head_dim;
  DODECA_CHECK(static_cast<std::size_t>((chunk + 1) * partial_floats(pass.config)) * sizeof(float) <=
                   pass.space.array_bytes(ArrayBuffer::kPartials),
               chunk);
  float* base = pass.space.array<float>(ArrayBuffer::kPartials) + chunk * partial_floats(pass.config);
  return {base + query_head, base + heads + query_head, base + 2 * heads + query_head * dim};
}

// Whether a row sees something of a chunk of its context.
bool sees(const GroupedHeads& heads, const GroupedCut& cut, const Row& row, std::int64_t chunk) {
  return row.position >= cut.chunk_begin(chunk) && heads.first_seen(row) < cut.chunk_begin(chunk + 1);
}

// One unit: the rows of a group x the query heads of a head, over context chunks.
class GroupedUnit {
 public:
  GroupedUnit(const Pass& pass, const cpu::Member& member, const GroupedHeads& heads, const RowGroup& group,
              std::int64_t head)
      : pass_(pass),
        heads_(heads),
        group_(group),
        head_(head),
        n_heads_(heads.group()),
        dim_(heads.dim()),
        lanes_(group.count * n_heads_),
        cut_(grouped_cut(pass.config, heads.window(), last().position)),
        format_(pass.cache.format(heads.layer())),
        integers_(heads.in_integers(pass)),
        kernels_(cpu::integer_attention(pass.isa)),
        at_(pass.config),
        scratch_(pass.space.scratch(member, ThreadBuffer::kAttention)),
        chunk_(state(at_.state[0])),
        running_(state(at_.state[1])) {
    heads_.gather_queries(pass_, head_, {group.first, group.first + group.count}, floats(at_.q));
    if (integers_)
      kernels_.pack_queries({*format_.integer, floats(at_.q), dim_, lanes_, heads.scale(), scratch_ + at_.strips});
  }

  // All chunks, merged in order; results of rows that do not take the form of prompts.
  void run() noexcept {
    bool begun[kRowGroup] = {};
    for (std::int64_t chunk = 0; chunk < cut_.count; ++chunk) {
      fold_chunk(chunk, coming(cut_.chunk_begin(chunk + 1),
                               std::min<std::int64_t>(cut_.chunk_begin(chunk + 2), last().position + 1)));
      for (std::int64_t r = 0; r < group_.count; ++r) {
        if (!sees(heads_, cut_, row(r), chunk)) continue;
        if (begun[r])
          merge_softmax(row_state(running_, r), row_state(chunk_, r), n_heads_, dim_);
        else
          copy(row_state(running_, r), row_state(chunk_, r));
        begun[r] = true;
      }
    }
    for (std::int64_t r = 0; r < group_.count; ++r) {
      if (heads_.is_prompt(pass_, row(r))) continue;
      const SoftmaxState from = row_state(running_, r);
      float* out = heads_.result(pass_, head_, group_.first + r);
      for (std::int64_t g = 0; g < n_heads_; ++g) {
        const float share = heads_.share(head_ * n_heads_ + g, from.max[g], from.sum[g]);
        for (std::int64_t j = g * dim_; j < (g + 1) * dim_; ++j) out[j] = from.acc[j] * share;
      }
    }
  }

  // One chunk, into the partial results; `next`: what the member probably takes then.
  void run_partial(const GroupedChunks& list, std::int64_t chunk, const ComingBlocks& next) noexcept {
    fold_chunk(chunk, next);
    for (std::int64_t r = 0; r < group_.count; ++r) {
      if (!sees(heads_, cut_, row(r), chunk)) continue;
      const std::int64_t first = list.first_partial[static_cast<std::size_t>(group_.first + r)];
      copy(partial(pass_, first + chunk, head_ * n_heads_), row_state(chunk_, r));
    }
  }

 private:
  float* floats(std::size_t offset) const { return reinterpret_cast<float*>(scratch_ + offset); }
  SoftmaxState state(std::size_t offset) const {
    float* base = floats(offset);
    const std::int64_t most = most_lanes(pass_.config);
    return {base, base + most, base + 2 * most};
  }
  SoftmaxState row_state(const SoftmaxState& s, std::int64_t r) const {
    return {s.max + r * n_heads_, s.sum + r * n_heads_, s.acc + r * n_heads_ * dim_};
  }
  void copy(const SoftmaxState& to, const SoftmaxState& from) const noexcept {
    std::copy_n(from.max, n_heads_, to.max);
    std::copy_n(from.sum, n_heads_, to.sum);
    std::copy_n(from.acc, n_heads_ * dim_, to.acc);
  }
  const Row& row(std::int64_t r) const { return pass_.row(group_.first + r); }
  const Row& last() const { return row(group_.count - 1); }

  ComingBlocks coming(std::int64_t position, std::int64_t end) const noexcept {
    return {pass_, heads_, row(0).sequence, head_, {position, end}};
  }

  // Into chunk_.
  void fold_chunk(std::int64_t chunk, const ComingBlocks& next) noexcept {
    clear_softmax(chunk_, lanes_, dim_);
    const std::int64_t begin = cut_.chunk_begin(chunk),
                       end = std::min<std::int64_t>(begin + cut_.length, last().position + 1);
    for (std::int64_t position = begin, n = 0; position < end; position += n) {
      n = positions_at_once(position, end, integers_ ? cpu::kChunkPositions : cpu::kContextBlock);
      const ComingBlocks then = position + n < end ? coming(position + n, std::min(end, position + 2 * n)) : next;
      integers_ ? fold_integers(position, n, then) : fold_floats(position, n, then);
    }
  }

  void fold_integers(std::int64_t position, std::int64_t n, const ComingBlocks& next) noexcept {
    const CachedBlocks blocks(pass_, heads_, row(0).sequence, head_, position, n);
    kernels_.load_rows({*format_.integer, format_.dtype, format_.value_dtype, blocks.keys, blocks.values,
                        format_.key_bytes, format_.value_bytes, n, scratch_ + at_.chunk});
    auto* visible = reinterpret_cast<std::int32_t*>(scratch_ + at_.visible);
    auto* hidden = reinterpret_cast<std::int32_t*>(scratch_ + at_.hidden);
    for (std::int64_t r = 0; r < group_.count; ++r) {
      const cpu::Range seen = heads_.seen(row(r), position, n);
      std::fill_n(visible + r * n_heads_, n_heads_, static_cast<std::int32_t>(seen.end));
      std::fill_n(hidden + r * n_heads_, n_heads_, static_cast<std::int32_t>(seen.begin));
    }
    cpu::FoldArgs fold{.shape = *format_.integer,
                       .queries = scratch_ + at_.strips,
                       .n_lanes = lanes_,
                       .chunk = scratch_ + at_.chunk,
                       .n = n,
                       .visible = visible,
                       .max = chunk_.max,
                       .sum = chunk_.sum,
                       .acc = chunk_.acc,
                       .acc_stride = dim_,
                       .hidden = heads_.window() > 0 ? hidden : nullptr};
    next.into(fold, format_);
    kernels_.fold(fold);
  }

  void decode(DType dtype, const std::byte* rows, std::size_t row_bytes, std::int64_t n, float* to) noexcept {
    if (dtype != DType::kI8) return cpu::decode_cache_rows({dtype, rows, row_bytes, n, dim_}, to, pass_.isa);
    for (std::int64_t i = 0; i < n; ++i)
      cpu::decode_int8_row(rows + static_cast<std::size_t>(i) * row_bytes, dim_, 0, to + i * dim_);
  }

  void fold_floats(std::int64_t position, std::int64_t n, const ComingBlocks& next) noexcept {
    const CachedBlocks blocks(pass_, heads_, row(0).sequence, head_, position, n);
    decode(format_.dtype, blocks.keys[0], format_.key_bytes, n, floats(at_.keys));
    decode(format_.value_dtype, blocks.values[0], format_.value_bytes, n, floats(at_.values));
    if (row(0).position + 1 >= position + n && heads_.first_seen(last()) <= position)
      return fold_block(0, lanes_, {0, n}, next);  // every row sees all of it: one matrix of rows * heads
    for (std::int64_t r = 0; r < group_.count; ++r) {
      const cpu::Range seen = heads_.seen(row(r), position, n);
      if (seen.begin < seen.end)
        fold_block(r * n_heads_, n_heads_, seen, r + 1 == group_.count ? next : ComingBlocks());
    }
  }

  void fold_block(std::int64_t first, std::int64_t n_lanes, const cpu::Range& seen, const ComingBlocks& next) noexcept {
    cpu::MlaBlockArgs block{.q = floats(at_.q) + first * dim_,
                            .n_heads = n_lanes,
                            .width = dim_,
                            .value_width = dim_,
                            .rows = floats(at_.keys) + seen.begin * dim_,
                            .n_positions = seen.end - seen.begin,
                            .scale = heads_.scale(),
                            .max = chunk_.max + first,
                            .sum = chunk_.sum + first,
                            .acc = chunk_.acc + first * dim_,
                            .scratch = floats(at_.scores),
                            .values = floats(at_.values) + seen.begin * dim_};
    next.into(block, format_);
    cpu::mla_block(block, pass_.isa);
  }

  const Pass& pass_;
  const GroupedHeads& heads_;
  const RowGroup group_;
  const std::int64_t head_, n_heads_, dim_, lanes_;
  const GroupedCut cut_;
  const RowFormat& format_;
  const bool integers_;
  const cpu::IntegerAttention& kernels_;
  const Space at_;
  std::byte* const scratch_;
  const SoftmaxState chunk_, running_;
};

ComingBlocks coming_chunk(const Pass& pass, const GroupedHeads& heads, const ContextChunk& chunk, std::int64_t head) {
  const RowGroup& group = pass.groups[chunk.group];
  const Row& last = pass.row(group.first + group.count - 1);
  const GroupedCut cut = grouped_cut(pass.config, heads.window(), last.position);
  const std::int64_t begin = cut.chunk_begin(chunk.index),
                     most = heads.in_integers(pass) ? cut.length : cpu::kContextBlock;
  return {pass, heads, last.sequence, head, {begin, std::min<std::int64_t>(begin + most, last.position + 1)}};
}

// Groups of prompt rows alone take the form of prompts.
bool is_grouped(const Pass& pass, const GroupedHeads& heads, const RowGroup& group) {
  for (std::int64_t r = 0; r < group.count; ++r) {
    if (!heads.is_prompt(pass, pass.row(group.first + r))) return true;
  }
  return false;
}

}  // namespace

std::size_t grouped_scratch_bytes(const ModelConfig& c) { return Space(c).total; }

void demand_grouped_partials(const ModelConfig& c, const RunSizes& sizes, Demand& demand) {
  demand.array(ArrayBuffer::kPartials,
               std::min(sizes.micro_batch, kFewRows) * most_grouped_chunks(c, sizes.n_positions) * partial_floats(c),
               sizeof(float));
}

void GroupedChunks::list(const Pass& pass, const GroupedHeads& heads) {
  chunks.clear();
  loads.clear();
  first_partial.clear();
  std::int64_t n_partials = 0;
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    first_partial.push_back(n_partials);
    n_partials += grouped_cut(pass.config, heads.window(), pass.row(i).position).count;
  }
  for (std::size_t part = 0; part < heads.n_parts(); ++part) {
    const Span own = heads.of_part(part);
    for (std::size_t g = 0; g < pass.groups.size() && own.size() > 0; ++g) {
      const std::int64_t last = pass.row(pass.groups[g].first + pass.groups[g].count - 1).position;
      const GroupedCut cut = grouped_cut(pass.config, heads.window(), last);
      for (std::int64_t c = 0; c < cut.count; ++c) {
        chunks.push_back({g, c, own.begin});
        // The last one counts as much as the others, so that members get whole units where there is one for each.
        loads.push_back({.n_tiles = own.size(),
                         .tile_bytes = static_cast<std::uint64_t>(cut.length),
                         .part = static_cast<std::int32_t>(part)});
      }
    }
  }
}

void attend_grouped_chunk(const Pass& pass, const cpu::Member& member, const GroupedHeads& heads,
                          const GroupedChunks& list, std::size_t chunk, const cpu::Range& tiles) noexcept {
  const ContextChunk& own = list.chunks[chunk];
  for (std::int64_t t = tiles.begin; t < tiles.end; ++t) {
    // Then the next head of this chunk, or the first one of the next, which may be another row's.
    const ContextChunk& next =
        t + 1 < list.loads[chunk].n_tiles || chunk + 1 == list.chunks.size() ? own : list.chunks[chunk + 1];
    const std::int64_t next_head = t + 1 < list.loads[chunk].n_tiles ? own.first_strip + t + 1 : next.first_strip;
    GroupedUnit(pass, member, heads, pass.groups[own.group], own.first_strip + t)
        .run_partial(list, own.index, coming_chunk(pass, heads, next, next_head));
  }
}

void merge_grouped(const Pass& pass, const cpu::Member& member, const GroupedHeads& heads, const GroupedChunks& list,
                   std::size_t part, const cpu::Range& columns) noexcept {
  const std::int64_t dim = heads.dim(), first_head = heads.of_part(part).begin * heads.group();
  auto* scratch = reinterpret_cast<float*>(pass.space.scratch(member, ThreadBuffer::kAttention));
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    const Row& row = pass.row(i);
    const GroupedCut cut = grouped_cut(pass.config, heads.window(), row.position);
    float* out = heads.result(pass, heads.of_part(part).begin, i);
    for (std::int64_t begin = columns.begin, end = 0; begin < columns.end; begin = end) {
      const std::int64_t own = begin / dim, width = std::min(columns.end, (own + 1) * dim) - begin;
      end = begin + width;
      const auto piece = [&](std::int64_t chunk) {
        const SoftmaxState whole =
            partial(pass, list.first_partial[static_cast<std::size_t>(i)] + chunk, first_head + own);
        return SoftmaxState{whole.max, whole.sum, whole.acc + begin % dim};
      };
      std::int64_t chunk = 0;
      while (!sees(heads, cut, row, chunk)) ++chunk;
      const SoftmaxState merged{scratch, scratch + 1, scratch + 2}, first = piece(chunk);
      *merged.max = *first.max;
      *merged.sum = *first.sum;
      std::copy_n(first.acc, width, merged.acc);
      for (++chunk; chunk < cut.count; ++chunk) merge_softmax(merged, piece(chunk), 1, width);
      const float share = heads.share(first_head + own, *merged.max, *merged.sum);
      for (std::int64_t j = 0; j < width; ++j) out[begin + j] = merged.acc[j] * share;
    }
  }
}

void attend_grouped(const Pass& pass, const cpu::Member& member, const GroupedHeads& heads,
                    cpu::CrewCounters& counters) noexcept {
  const cpu::CrewPlace& place = pass.crews.place(member);
  cpu::WorkCounter& next = counters.of(place);
  const Span own = heads.of_crew(place);
  const auto n_groups = std::ssize(pass.groups);
  for (std::int64_t u = next.take(); u < n_groups * own.size(); u = next.take()) {
    // Later groups see more context: taking them first balances the members.
    const RowGroup& group = pass.groups[static_cast<std::size_t>(n_groups - 1 - u / own.size())];
    if (is_grouped(pass, heads, group)) GroupedUnit(pass, member, heads, group, own.begin + u % own.size()).run();
  }
}

}  // namespace dodeca::runtime::exec
