#include "runtime/exec/attention_grouped_prompt.hpp"

#include "cpu/kernels/attention/integer.hpp"

namespace dodeca::runtime::exec {
namespace {

constexpr std::int64_t kMostLanes = 512;    // of a unit: their queries and results stay in L2 beside a chunk
constexpr std::int64_t kLeastLanes = 128;   // fewer do not pay for loading a chunk
constexpr std::int64_t kUnitsOfMember = 6;  // so many keep members busy until the end

// Rows of a unit at most and at least, of so many query heads.
std::int64_t most_rows(std::int64_t group) { return std::max<std::int64_t>(1, kMostLanes / group); }
std::int64_t least_rows(std::int64_t group) { return std::max<std::int64_t>(1, kLeastLanes / group); }

// The parts of a thread's work space.
struct Space {
  std::size_t q, strips, chunk, visible, hidden, max, sum, acc, total;

  explicit Space(const ModelConfig& c) {
    const std::int64_t group = c.n_heads / c.n_kv_heads, dim = (c.head_dim + 31) / 32 * 32;
    const auto lanes = static_cast<std::size_t>(most_rows(group) * group);
    const cpu::IntegerShape shape{cpu::Digits::k16, dim, 0, dim};
    BufferParts parts;
    q = parts.take(lanes * static_cast<std::size_t>(dim) * sizeof(float));
    strips = parts.take((lanes + cpu::kStripLanes - 1) / cpu::kStripLanes * cpu::strip_bytes(shape));
    chunk = parts.take(cpu::ChunkLayout(shape).total);
    visible = parts.take(lanes * sizeof(std::int32_t));
    hidden = parts.take(lanes * sizeof(std::int32_t));
    max = parts.take(lanes * sizeof(float));
    sum = parts.take(lanes * sizeof(float));
    acc = parts.take(lanes * static_cast<std::size_t>(dim) * sizeof(float));
    total = parts.total();
  }
};

// Consecutive prompt rows of one sequence.
struct Run {
  std::int64_t first, count;
};

// The run that begins at or after row `from`; count 0 past the last.
Run next_run(const Pass& pass, const GroupedHeads& heads, std::int64_t from) {
  while (from < pass.n() && !heads.is_prompt(pass, pass.row(from))) ++from;
  Run run{from, 0};
  while (from < pass.n() && heads.is_prompt(pass, pass.row(from)) &&
         pass.row(from).sequence == pass.row(run.first).sequence)
    ++from;
  run.count = from - run.first;
  return run;
}

// The query heads of one head of some rows of a run.
class PromptUnit {
 public:
  PromptUnit(const Pass& pass, const cpu::Member& member, const GroupedHeads& heads, std::int64_t head, Run rows)
      : pass_(pass),
        heads_(heads),
        head_(head),
        rows_(rows),
        group_(heads.group()),
        dim_(heads.dim()),
        format_(pass.cache.format(heads.layer())),
        kernels_(cpu::integer_attention(pass.isa)),
        at_(pass.config),
        scratch_(pass.space.scratch(member, ThreadBuffer::kAttention)) {}

  void run() noexcept {
    heads_.gather_queries(pass_, head_, {rows_.first, rows_.first + rows_.count}, floats(at_.q));
    kernels_.pack_queries({*format_.integer, floats(at_.q), dim_, lanes(), heads_.scale(), scratch_ + at_.strips});
    const SoftmaxState state{floats(at_.max), floats(at_.sum), floats(at_.acc)};
    clear_softmax(state, lanes(), dim_);
    // Chunks begin at the same positions for every row, so that its bits do not depend on the rows beside it.
    const std::int64_t begin = heads_.first_seen(row(0)) / cpu::kChunkPositions * cpu::kChunkPositions,
                       end = row(rows_.count - 1).position + 1;
    for (std::int64_t position = begin; position < end; position += cpu::kChunkPositions)
      fold_chunk(state, position, std::min<std::int64_t>(cpu::kChunkPositions, end - position),
                 {pass_, heads_, row(0).sequence, head_, {position + cpu::kChunkPositions, end}});
    for (std::int64_t lane = 0; lane < lanes(); ++lane) {
      const std::int64_t g = lane % group_;
      const float share = heads_.share(head_ * group_ + g, state.max[lane], state.sum[lane]);
      float* out = heads_.result(pass_, head_, rows_.first + lane / group_) + g * dim_;
      for (std::int64_t j = 0; j < dim_; ++j) out[j] = state.acc[lane * dim_ + j] * share;
    }
  }

 private:
  float* floats(std::size_t offset) const { return reinterpret_cast<float*>(scratch_ + offset); }
  std::int64_t lanes() const { return rows_.count * group_; }
  const Row& row(std::int64_t r) const { return pass_.row(rows_.first + r); }

  // n positions from `position` on, for those of the rows that see them.
  void fold_chunk(const SoftmaxState& state, std::int64_t position, std::int64_t n, const ComingBlocks& next) noexcept {
    const CachedBlocks blocks(pass_, heads_, row(0).sequence, head_, position, n);
    kernels_.load_rows({*format_.integer, format_.dtype, format_.value_dtype, blocks.keys, blocks.values,
                        format_.key_bytes, format_.value_bytes, n, scratch_ + at_.chunk});
    auto* visible = reinterpret_cast<std::int32_t*>(scratch_ + at_.visible);
    auto* hidden = reinterpret_cast<std::int32_t*>(scratch_ + at_.hidden);
    // Whole strips of rows that see none of it are left out, in front and behind.
    std::int64_t first = lanes(), end = 0;
    for (std::int64_t r = 0; r < rows_.count; ++r) {
      const cpu::Range seen = heads_.seen(row(r), position, n);
      std::fill_n(visible + r * group_, group_, static_cast<std::int32_t>(seen.end));
      std::fill_n(hidden + r * group_, group_, static_cast<std::int32_t>(seen.begin));
      if (seen.begin == seen.end) continue;
      first = std::min(first, r * group_);
      end = (r + 1) * group_;
    }
    first = first / cpu::kStripLanes * cpu::kStripLanes;
    if (first >= end) return;
    cpu::FoldArgs fold{
        .shape = *format_.integer,
        .queries = scratch_ + at_.strips +
                   static_cast<std::size_t>(first / cpu::kStripLanes) * cpu::strip_bytes(*format_.integer),
        .n_lanes = end - first,
        .chunk = scratch_ + at_.chunk,
        .n = n,
        .visible = visible + first,
        .max = state.max + first,
        .sum = state.sum + first,
        .acc = state.acc + first * dim_,
        .acc_stride = dim_,
        .hidden = heads_.window() > 0 ? hidden + first : nullptr};
    next.into(fold, format_);
    kernels_.fold(fold);
  }

  const Pass& pass_;
  const GroupedHeads& heads_;
  const std::int64_t head_;
  const Run rows_;
  const std::int64_t group_, dim_;
  const RowFormat& format_;
  const cpu::IntegerAttention& kernels_;
  const Space at_;
  std::byte* const scratch_;
};

}  // namespace

std::size_t grouped_prompt_scratch_bytes(const ModelConfig& c) { return Space(c).total; }

void attend_grouped_prompt(const Pass& pass, const cpu::Member& member, const GroupedHeads& heads,
                           cpu::CrewCounters& counters) noexcept {
  const cpu::CrewPlace& place = pass.crews.place(member);
  cpu::WorkCounter& next = counters.of(place);
  const Span own = heads.of_crew(place);
  std::int64_t u = next.take(), first = 0;
  for (Run run = next_run(pass, heads, 0); run.count > 0; run = next_run(pass, heads, run.first + run.count)) {
    const std::int64_t wanted = kUnitsOfMember * place.size / std::max<std::int64_t>(1, own.size());
    const std::int64_t per_unit = std::clamp((run.count + wanted) / (wanted + 1), least_rows(heads.group()),
                                             most_rows(heads.group())),
                       parts = (run.count + per_unit - 1) / per_unit;
    for (; u < first + own.size() * parts; u = next.take()) {
      // Later rows see more: taking them first balances the members.
      const std::int64_t mine = parts - 1 - (u - first) / own.size(), begin = mine * per_unit;
      PromptUnit(pass, member, heads, own.begin + (u - first) % own.size(),
                 {run.first + begin, std::min(per_unit, run.count - begin)})
          .run();
    }
    first += own.size() * parts;
  }
}

}  // namespace dodeca::runtime::exec
