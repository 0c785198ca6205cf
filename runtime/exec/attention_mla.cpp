// Multi-head latent attention (DeepSeek-V2 paper, section 2.1). Generated rows take the absorbed form: the query is
// carried into the latent space by k_b, the latent rows serve as keys and values of every head, and v_b carries the
// result out. Prompt rows take the decompressed form (attention_decompressed.hpp).
#include <algorithm>
#include <cstring>

#include "cpu/kernels/norm/norm.hpp"
#include "cpu/kernels/rope/rope.hpp"
#include "runtime/exec/attention_absorbed.hpp"
#include "runtime/exec/attention_decompressed.hpp"
#include "runtime/exec/naive_mla.hpp"
#include "runtime/exec/pass.hpp"

namespace dodeca::runtime {

namespace {

void add_bias(float* row, const std::vector<float>& bias) noexcept {
  for (std::size_t j = 0; j < bias.size(); ++j) row[j] += bias[j];
}

// Latent normalized, key rotated, row written to the cache; q_a normalized and quantized.
void write_cache_row(const Pass& pass, const LayerWeights& w, std::int64_t layer, std::int64_t i) noexcept {
  const ModelConfig& c = pass.config();
  const Workspace& s = pass.space;
  const auto eps = static_cast<float>(c.rms_norm_eps);
  const Row& row = pass.rows[static_cast<std::size_t>(i)];
  float* kv = s.kv.row(i);
  add_bias(kv, w.kv_a_bias);
  cpu::rms_norm(kv, w.kv_a_norm.data(), c.kv_lora_rank, eps, kv, pass.weights.isa);
  cpu::rope_rotate(kv + c.kv_lora_rank, s.angles.data() + i * c.rope.dim, c.rope.dim / 2);
  pass.cache.write_row(layer, row.sequence, row.position, kv);
  if (w.q_a) {
    add_bias(s.q_a.row(i), w.q_a_bias);
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

// Ranges of rows within [begin, end) that take the absorbed form.
template <class F>
void for_each_absorbed(const Pass& pass, const LayerWeights& w, std::int64_t begin, std::int64_t end, F&& f) noexcept {
  const auto absorbed = [&](std::int64_t i) {
    return !is_decompressed(pass, w, pass.rows[static_cast<std::size_t>(i)]);
  };
  while (begin < end) {
    std::int64_t stop = begin;
    while (stop < end && absorbed(stop)) ++stop;
    if (stop > begin) f(begin, stop);
    begin = std::max(stop, begin + 1);
  }
}

}  // namespace

void attention_mla(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept {
  const ModelConfig& c = pass.config();
  const LayerWeights& w = pass.weights.layers[static_cast<std::size_t>(layer)];
  const Workspace& s = pass.space;
  ThreadSpace& thread = pass.space.threads[static_cast<std::size_t>(member.index)];
  const std::int64_t head_dim = c.qk_nope_head_dim + c.qk_rope_head_dim, width = s.kv.width();

  InputSums::Layer* sums = pass.sums_of(layer);
  if (sums != nullptr) add_inputs(pass, member, sums->attention, s.normed);
  if (w.q_a)
    project(pass, member, w.q_a, s.normed, s.q_a);
  else
    project(pass, member, w.q, s.normed, s.q);
  project(pass, member, w.kv_a, s.normed, s.kv);
  finish(member, pass.n(), [&](std::int64_t i) { write_cache_row(pass, w, layer, i); });
  pass.end_phase(member, Phase::kLatent, [&] { return (w.q_a ? w.q_a : w.q).slice_bytes() + w.kv_a.slice_bytes(); });

  if (sums != nullptr && w.q_a) add_inputs(pass, member, sums->q_b, s.q_a);
  // Few rows: whoever makes a head's queries also absorbs them. Many rows share the decoding of q_b better when all of
  // them are multiplied together.
  const bool by_head = w.q_b && pass.n() < w.q_b.gemm_min_rows && head_dim % cpu::kTileRows == 0;
  if (w.q_b && !by_head) {
    project(pass, member, w.q_b, s.q_a, s.q);
    member.barrier();
  }
  if (member.index == 0) {
    pass.space.counter[0].reset();
    pass.space.counter[2].reset();
  }
  for_each_head_unit(pass, member, [&](std::int64_t head, std::int64_t begin, std::int64_t end) {
    if (by_head) project_head(pass, thread, head, begin, end, w.q_b);
    for (std::int64_t i = begin; i < end; ++i) {
      float* rope = s.q.row(i) + head * head_dim + c.qk_nope_head_dim;
      cpu::rope_rotate(rope, s.angles.data() + i * c.rope.dim, c.rope.dim / 2);
    }
    for_each_absorbed(pass, w, begin, end, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {
        std::memcpy(s.q_absorbed.row(i) + head * width + c.kv_lora_rank,
                    s.q.row(i) + head * head_dim + c.qk_nope_head_dim,
                    static_cast<std::size_t>(c.qk_rope_head_dim) * sizeof(float));
      }
      multiply_head(pass, thread, {w.k_b, s.q, head_dim, s.q_absorbed, width}, head, first, last);
    });
  });
  member.barrier();
  pass.end_phase(member, Phase::kQuery, [&] {
    return (w.q_b ? w.q_b.slice_bytes() : 0) + static_cast<std::uint64_t>(w.k_b.n_slices) * w.k_b.slice_bytes();
  });
  if (sums != nullptr) add_inputs(pass, member, sums->k_b, s.q, head_dim);
  if (pass.naive_mla) {
    naive_mla(pass, member, layer);
  } else {
    attend_absorbed(pass, member, layer);
    attend_decompressed(pass, member, layer, pass.space.counter[2]);
    member.barrier();
    pass.end_phase(member, Phase::kAttention, [&] { return cache_bytes(pass); });
    for_each_head_unit(pass, member, [&](std::int64_t head, std::int64_t begin, std::int64_t end) {
      for_each_absorbed(pass, w, begin, end, [&](std::int64_t first, std::int64_t last) {
        merge_absorbed(pass, member, head, first, last);
        multiply_head(pass, thread, {w.v_b, s.latent, c.kv_lora_rank, s.heads, c.v_head_dim}, head, first, last);
      });
    });
  }
  finish(member, pass.n(), [&](std::int64_t i) { s.heads.quantize(i, pass.weights.isa); });
  pass.end_phase(member, Phase::kValue,
                 [&] { return static_cast<std::uint64_t>(w.v_b.n_slices) * w.v_b.slice_bytes(); });
  if (sums != nullptr) {
    add_inputs(pass, member, sums->v_b, s.latent, c.kv_lora_rank);
    add_inputs(pass, member, sums->output, s.heads);
  }
  project(pass, member, w.output, s.heads, s.normed);
}

}  // namespace dodeca::runtime
