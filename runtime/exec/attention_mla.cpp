// Multi-head latent attention (DeepSeek-V2 paper, section 2.1), absorbed: the query is carried into the latent space by
// k_b, the latent rows serve as keys and values of every head, and v_b carries the result out.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/kernels/attention/attention.hpp"
#include "cpu/kernels/norm/norm.hpp"
#include "cpu/kernels/rope/rope.hpp"
#include "runtime/exec/naive_mla.hpp"
#include "runtime/exec/pass.hpp"

namespace dodeca::runtime {

void merge_softmax(const SoftmaxState& into, const SoftmaxState& part, std::int64_t n_heads,
                   std::int64_t width) noexcept {
  for (std::int64_t h = 0; h < n_heads; ++h) {
    const float max = std::max(into.max[h], part.max[h]);
    const float a = std::exp(into.max[h] - max), b = std::exp(part.max[h] - max);
    into.max[h] = max;
    into.sum[h] = into.sum[h] * a + part.sum[h] * b;
    float* acc = into.acc + h * width;
    const float* add = part.acc + h * width;
    for (std::int64_t i = 0; i < width; ++i) acc[i] = acc[i] * a + add[i] * b;
  }
}

namespace {

std::int64_t chunks_of(const Row& row) { return row.position / kContextChunk + 1; }

// Latent normalized, key rotated, row written to the cache; q_a normalized and quantized.
void write_cache_row(const Pass& pass, const LayerWeights& w, std::int64_t layer, std::int64_t i) noexcept {
  const ModelConfig& c = pass.config();
  const Workspace& s = pass.space;
  const auto eps = static_cast<float>(c.rms_norm_eps);
  const Row& row = pass.rows[static_cast<std::size_t>(i)];
  float* kv = s.kv.row(i);
  cpu::rms_norm(kv, w.kv_a_norm.data(), c.kv_lora_rank, eps, kv, pass.weights.isa);
  cpu::rope_rotate(kv + c.kv_lora_rank, s.angles.data() + i * c.rope.dim, c.rope.dim / 2);
  cpu::encode_cache_row(pass.cache.dtype(), kv, s.kv.width(), pass.cache.row(layer, row.sequence, row.position),
                        pass.weights.isa);
  if (w.q_a) {
    cpu::rms_norm(s.q_a.row(i), w.q_a_norm.data(), c.q_lora_rank, eps, s.q_a.row(i), pass.weights.isa);
    s.q_a.quantize(i, pass.weights.isa);
  }
}

// Per head: acts [rows, n_in] taken from src (row stride, offset of the head), times the head's slice of `weight`, into
// dst.
struct HeadProduct {
  const PackedMatrix& weight;
  const Activations& src;
  std::int64_t src_step;  // floats from one head to the next
  const Activations& dst;
  std::int64_t dst_step;
};

void multiply_head(const Pass& pass, ThreadSpace& thread, const HeadProduct& p, std::int64_t head, std::int64_t begin,
                   std::int64_t end) noexcept {
  const cpu::ActFormat format = p.weight.layout->act;
  const std::size_t stride = cpu::act_row_bytes(format, p.weight.n_in);
  for (std::int64_t i = begin; i < end; ++i) {
    cpu::quantize_act(format, p.src.row(i) + head * p.src_step, p.weight.n_in,
                      thread.acts.data() + static_cast<std::size_t>(i - begin) * stride, pass.weights.isa);
  }
  multiply({.weight = p.weight,
            .slice = head,
            .tile_begin = 0,
            .tile_end = p.weight.n_tiles,
            .acts = thread.acts.data(),
            .act_stride = stride,
            .n_acts = end - begin,
            .out = p.dst.row(begin) + head * p.dst_step,
            .out_stride = p.dst.stride_floats(),
            .scratch = thread.matmul.data(),
            .prompt = pass.prompt()});
}

// The rows of `weight` that are the head's queries, for rows [begin, end).
void project_head(const Pass& pass, ThreadSpace& thread, std::int64_t head, std::int64_t begin, std::int64_t end,
                  const PackedMatrix& weight) noexcept {
  const Workspace& s = pass.space;
  const std::int64_t tiles = weight.n_tiles / pass.config().n_heads;
  const cpu::ActFormat format = weight.layout->act;
  multiply({.weight = weight,
            .tile_begin = head * tiles,
            .tile_end = (head + 1) * tiles,
            .acts = s.q_a.data(format) + static_cast<std::size_t>(begin) * s.q_a.stride(format),
            .act_stride = s.q_a.stride(format),
            .n_acts = end - begin,
            .out = s.q.row(begin),
            .out_stride = s.q.stride_floats(),
            .scratch = thread.matmul.data(),
            .prompt = pass.prompt()});
}

// Bytes of the cache rows that the pass attends to, each sequence's once.
std::uint64_t cache_bytes(const Pass& pass) {
  std::uint64_t positions = 0;
  for (std::size_t i = 0; i < pass.rows.size(); ++i) {
    const bool is_last = i + 1 == pass.rows.size() || pass.rows[i + 1].sequence != pass.rows[i].sequence;
    if (is_last) positions += static_cast<std::uint64_t>(pass.rows[i].position) + 1;
  }
  return positions * pass.cache.row_bytes();
}

template <class F>
void for_each_head_unit(const Pass& pass, const cpu::Member& member, F&& f) noexcept {
  const std::int64_t row_units = (pass.n() + kHeadRows - 1) / kHeadRows;
  const cpu::Range range = member.part(pass.config().n_heads * row_units);
  for (std::int64_t u = range.begin; u < range.end; ++u) {
    const std::int64_t begin = u % row_units * kHeadRows;
    f(u / row_units, begin, std::min(pass.n(), begin + kHeadRows));
  }
}

// One unit: the rows of a group x some heads, over context chunks.
class GroupAttention {
 public:
  GroupAttention(const Pass& pass, float* scratch, std::int64_t layer, const RowGroup& group, std::int64_t head_begin,
                 std::int64_t head_end)
      : pass_(pass),
        layer_(layer),
        group_(group),
        head_begin_(head_begin),
        n_heads_(head_end - head_begin),
        width_(pass.space.kv.width()),
        value_(pass.config().kv_lora_rank),
        scale_(static_cast<float>(pass.config().softmax_scale())) {
    block_ = scratch;
    q_ = block_ + cpu::kContextBlock * width_;
    scores_ = q_ + kRowGroup * kHeadGroup * width_;
    chunk_ = state(scores_ + kRowGroup * kHeadGroup * cpu::kContextBlock);
    running_ = state(chunk_.acc + kRowGroup * kHeadGroup * value_);
    for (std::int64_t r = 0; r < group.count; ++r) {
      std::memcpy(q_ + r * n_heads_ * width_, pass.space.q_absorbed.row(group.first + r) + head_begin * width_,
                  static_cast<std::size_t>(n_heads_ * width_) * sizeof(float));
    }
  }

  static std::size_t scratch_floats(std::int64_t width, std::int64_t value) {
    const auto m = static_cast<std::size_t>(kRowGroup * kHeadGroup), w = static_cast<std::size_t>(width),
               v = static_cast<std::size_t>(value);
    return cpu::kContextBlock * w + m * w + m * cpu::kContextBlock + 2 * m * (2 + v);
  }

  // All chunks, merged in order, result divided by its sum into `latent`.
  void run() noexcept {
    const std::int64_t n_chunks = chunks_of(last());
    for (std::int64_t chunk = 0; chunk < n_chunks; ++chunk) {
      fold_chunk(chunk, chunk == 0 ? running_ : chunk_);
      if (chunk > 0) merge_visible(chunk);
    }
    for (std::int64_t r = 0; r < group_.count; ++r) {
      write_result(pass_, group_.first + r, head_begin_, n_heads_, row_state(running_, r));
    }
  }

  // One chunk, into the partial results.
  void run_partial(std::int64_t chunk) noexcept {
    fold_chunk(chunk, chunk_);
    for (std::int64_t r = 0; r < group_.count; ++r) {
      if (!visible(r, chunk)) continue;
      const SoftmaxState to = partial(pass_, group_.first + r, chunk, head_begin_), from = row_state(chunk_, r);
      std::memcpy(to.max, from.max, static_cast<std::size_t>(n_heads_) * sizeof(float));
      std::memcpy(to.sum, from.sum, static_cast<std::size_t>(n_heads_) * sizeof(float));
      std::memcpy(to.acc, from.acc, static_cast<std::size_t>(n_heads_ * value_) * sizeof(float));
    }
  }

  static SoftmaxState partial(const Pass& pass, std::int64_t row, std::int64_t chunk, std::int64_t head) noexcept {
    const std::int64_t heads = pass.config().n_heads, value = pass.config().kv_lora_rank;
    float* base = pass.space.partials.as<float>() +
                  (pass.first_partial[static_cast<std::size_t>(row)] + chunk) * heads * (2 + value);
    return {base + head, base + heads + head, base + 2 * heads + head * value};
  }

  static void write_result(const Pass& pass, std::int64_t row, std::int64_t head_begin, std::int64_t n_heads,
                           const SoftmaxState& state) noexcept {
    const std::int64_t value = pass.config().kv_lora_rank;
    float* out = pass.space.latent.row(row) + head_begin * value;
    for (std::int64_t h = 0; h < n_heads; ++h) {
      const float inverse = 1.0f / state.sum[h];
      for (std::int64_t i = 0; i < value; ++i) out[h * value + i] = state.acc[h * value + i] * inverse;
    }
  }

 private:
  SoftmaxState state(float* base) const {
    const std::int64_t m = kRowGroup * kHeadGroup;
    return {base, base + m, base + 2 * m};
  }
  SoftmaxState row_state(const SoftmaxState& s, std::int64_t r) const {
    return {s.max + r * n_heads_, s.sum + r * n_heads_, s.acc + r * n_heads_ * value_};
  }
  const Row& row(std::int64_t r) const { return pass_.rows[static_cast<std::size_t>(group_.first + r)]; }
  const Row& last() const { return row(group_.count - 1); }
  bool visible(std::int64_t r, std::int64_t chunk) const { return row(r).position >= chunk * kContextChunk; }

  void merge_visible(std::int64_t chunk) noexcept {
    for (std::int64_t r = 0; r < group_.count; ++r) {
      if (visible(r, chunk)) merge_softmax(row_state(running_, r), row_state(chunk_, r), n_heads_, value_);
    }
  }

  void fold_chunk(std::int64_t chunk, const SoftmaxState& to) noexcept {
    const std::int64_t m = group_.count * n_heads_;
    std::fill_n(to.max, m, -std::numeric_limits<float>::infinity());
    std::fill_n(to.sum, m, 0.0f);
    std::fill_n(to.acc, m * value_, 0.0f);
    const std::int64_t end = std::min<std::int64_t>((chunk + 1) * kContextChunk, last().position + 1);
    for (std::int64_t position = chunk * kContextChunk; position < end; position += cpu::kContextBlock) {
      const std::int64_t n = std::min<std::int64_t>(cpu::kContextBlock, end - position);
      cpu::decode_cache_rows(pass_.cache.dtype(), pass_.cache.block(layer_, row(0).sequence, position),
                             pass_.cache.row_bytes(), n, width_, block_, pass_.weights.isa);
      if (row(0).position + 1 >= position + n) {  // every row sees the whole block: one matrix of rows * heads
        fold_block(0, m, n, to);
        continue;
      }
      for (std::int64_t r = 0; r < group_.count; ++r) {
        const std::int64_t seen = std::min(n, row(r).position + 1 - position);
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
                   pass_.weights.isa);
  }

  const Pass& pass_;
  const std::int64_t layer_;
  const RowGroup group_;
  const std::int64_t head_begin_, n_heads_, width_, value_;
  const float scale_;
  float *block_, *q_, *scores_;
  SoftmaxState chunk_, running_;
};

void attend(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept {
  const std::int64_t heads = pass.config().n_heads, head_units = (heads + kHeadGroup - 1) / kHeadGroup;
  float* scratch = pass.space.threads[static_cast<std::size_t>(member.index)].floats.as<float>();
  const auto heads_of = [&](std::int64_t u) { return Span{u * kHeadGroup, std::min(heads, (u + 1) * kHeadGroup)}; };
  cpu::WorkCounter& next = pass.space.counter[0];

  // Few rows over a long context: chunks are spread over the members and merged afterwards. The bits are the same
  // either way.
  const std::int64_t n_partials = pass.first_partial.back();
  const std::int64_t n_groups = static_cast<std::int64_t>(pass.groups.size());
  const bool split =
      n_groups * head_units < 4 * member.size && n_partials > pass.n() && n_partials <= pass.space.max_partials;
  if (!split) {
    for (std::int64_t u = next.take(); u < n_groups * head_units; u = next.take()) {
      // Later groups see more context: taking them first balances the members.
      const Span span = heads_of(u % head_units);
      GroupAttention(pass, scratch, layer, pass.groups[static_cast<std::size_t>(n_groups - 1 - u / head_units)],
                     span.begin, span.end)
          .run();
    }
    return;
  }
  std::int64_t n_units = 0;
  for (const RowGroup& group : pass.groups)
    n_units += chunks_of(pass.rows[static_cast<std::size_t>(group.first + group.count - 1)]) * head_units;
  for (std::int64_t u = next.take(); u < n_units; u = next.take()) {
    std::int64_t rest = u;
    for (const RowGroup& group : pass.groups) {
      const std::int64_t mine =
          chunks_of(pass.rows[static_cast<std::size_t>(group.first + group.count - 1)]) * head_units;
      if (rest < mine) {
        const Span span = heads_of(rest % head_units);
        GroupAttention(pass, scratch, layer, group, span.begin, span.end).run_partial(rest / head_units);
        break;
      }
      rest -= mine;
    }
  }
  member.barrier();
  const cpu::Range range = member.part(pass.n() * head_units);
  for (std::int64_t u = range.begin; u < range.end; ++u) {
    const std::int64_t row = u / head_units;
    const Span span = heads_of(u % head_units);
    const SoftmaxState running = GroupAttention::partial(pass, row, 0, span.begin);
    for (std::int64_t chunk = 1; chunk < chunks_of(pass.rows[static_cast<std::size_t>(row)]); ++chunk) {
      merge_softmax(running, GroupAttention::partial(pass, row, chunk, span.begin), span.size(),
                    pass.config().kv_lora_rank);
    }
    GroupAttention::write_result(pass, row, span.begin, span.size(), running);
  }
}

}  // namespace

std::size_t mla_scratch_floats(const ModelConfig& c) {
  return GroupAttention::scratch_floats(c.kv_lora_rank + c.qk_rope_head_dim, c.kv_lora_rank);
}

void attention_mla(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept {
  const ModelConfig& c = pass.config();
  const LayerWeights& w = pass.weights.layers[static_cast<std::size_t>(layer)];
  const Workspace& s = pass.space;
  ThreadSpace& thread = pass.space.threads[static_cast<std::size_t>(member.index)];
  const std::int64_t head_dim = c.qk_nope_head_dim + c.qk_rope_head_dim, width = s.kv.width();

  if (w.q_a)
    project(pass, member, w.q_a, s.normed, s.q_a);
  else
    project(pass, member, w.q, s.normed, s.q);
  project(pass, member, w.kv_a, s.normed, s.kv);
  finish(member, pass.n(), [&](std::int64_t i) { write_cache_row(pass, w, layer, i); });
  pass.end_phase(member, Phase::kLatent, [&] { return (w.q_a ? w.q_a : w.q).slice_bytes() + w.kv_a.slice_bytes(); });

  // Few rows: whoever makes a head's queries also absorbs them. Many rows share the decoding of q_b better when all of
  // them are multiplied together.
  const bool by_head = w.q_b && pass.n() < cpu::kGemmMinRows && head_dim % cpu::kTileRows == 0;
  if (w.q_b && !by_head) {
    project(pass, member, w.q_b, s.q_a, s.q);
    member.barrier();
  }
  if (member.index == 0) pass.space.counter[0].reset();
  for_each_head_unit(pass, member, [&](std::int64_t head, std::int64_t begin, std::int64_t end) {
    if (by_head) project_head(pass, thread, head, begin, end, w.q_b);
    for (std::int64_t i = begin; i < end; ++i) {
      float* rope = s.q.row(i) + head * head_dim + c.qk_nope_head_dim;
      cpu::rope_rotate(rope, s.angles.data() + i * c.rope.dim, c.rope.dim / 2);
      std::memcpy(s.q_absorbed.row(i) + head * width + c.kv_lora_rank, rope,
                  static_cast<std::size_t>(c.qk_rope_head_dim) * sizeof(float));
    }
    multiply_head(pass, thread, {w.k_b, s.q, head_dim, s.q_absorbed, width}, head, begin, end);
  });
  member.barrier();
  pass.end_phase(member, Phase::kQuery, [&] {
    return (w.q_b ? w.q_b.slice_bytes() : 0) + static_cast<std::uint64_t>(w.k_b.n_slices) * w.k_b.slice_bytes();
  });
  if (pass.naive_mla) {
    naive_mla(pass, member, layer);
  } else {
    attend(pass, member, layer);
    member.barrier();
    pass.end_phase(member, Phase::kAttention, [&] { return cache_bytes(pass); });
    for_each_head_unit(pass, member, [&](std::int64_t head, std::int64_t begin, std::int64_t end) {
      multiply_head(pass, thread, {w.v_b, s.latent, c.kv_lora_rank, s.heads, c.v_head_dim}, head, begin, end);
    });
  }
  finish(member, pass.n(), [&](std::int64_t i) { s.heads.quantize(i, pass.weights.isa); });
  pass.end_phase(member, Phase::kValue,
                 [&] { return static_cast<std::uint64_t>(w.v_b.n_slices) * w.v_b.slice_bytes(); });
  project(pass, member, w.output, s.heads, s.normed);
}

}  // namespace dodeca::runtime
