// Feed-forward blocks: y = down(silu(gate x) * up x), for the routed experts that each row chose, weighted, plus the
// shared expert or, in dense layers, the one dense block (DeepSeek-V3 report, section 2.1.2). Experts are added in
// ascending order for every row, so a row's bits do not depend on which rows are beside it.
#include <algorithm>
#include <cstring>

#include "cpu/kernels/activation/activation.hpp"
#include "cpu/kernels/router/router.hpp"
#include "runtime/exec/pass.hpp"

namespace dodeca::runtime {
namespace {

// Rows of an expert, on average, up to which its weights take longer to read than to use.
constexpr std::int64_t kFewRows = 4;

// Which activation rows a slice multiplies and where its results go: slots [begin, end).
struct SlotRange {
  std::int64_t begin = 0, end = 0;
  const std::int32_t* act_rows = nullptr;  // null: row i for slot i
  std::int64_t count() const { return end - begin; }
};

// f(piece) for kSlotPiece slots at a time, whose products stay in cache.
template <class F>
void for_each_piece(const SlotRange& slots, F&& f) noexcept {
  for (std::int64_t begin = slots.begin; begin < slots.end; begin += kSlotPiece)
    f(SlotRange{begin, std::min(slots.end, begin + kSlotPiece), slots.act_rows});
}

ThreadSpace& thread_of(const Pass& pass, const cpu::Member& member) {
  return pass.space.threads[static_cast<std::size_t>(member.index)];
}

// h[slot][column] = silu(gate) * up for at most kFfnTiles tiles of one expert's part and kSlotPiece slots.
void gate_up_piece(const Pass& pass, const cpu::Member& member, const FfnPart& part, std::int64_t slice,
                   std::int64_t tile_begin, std::int64_t tile_end, const SlotRange& slots, const Activations& h,
                   std::int64_t h_offset) noexcept {
  ThreadSpace& thread = thread_of(pass, member);
  const std::int64_t n = (tile_end - tile_begin) * cpu::kTileRows, first = tile_begin * cpu::kTileRows;
  float* gate = thread.tiles.as<float>();
  float* up = gate + slots.count() * n;
  const Activations& in = pass.space.normed;
  const std::int64_t first_row = slots.act_rows == nullptr ? slots.begin : 0;
  for (const auto& [weight, out] : {std::pair{&part.gate, gate}, std::pair{&part.up, up}}) {
    const cpu::ActFormat format = weight->layout->act;
    multiply({.weight = *weight,
              .slice = slice,
              .tile_begin = tile_begin,
              .tile_end = tile_end,
              .acts = in.data(format) + static_cast<std::size_t>(first_row) * in.stride(format),
              .act_stride = in.stride(format),
              .act_rows = slots.act_rows == nullptr ? nullptr : slots.act_rows + slots.begin,
              .n_acts = slots.count(),
              .out = out - first,
              .out_stride = n,
              .scratch = thread.matmul.data(),
              .prompt = pass.prompt()});
  }
  const std::int64_t valid = std::min(n, part.gate.n_out - first);
  for (std::int64_t i = 0; i < slots.count(); ++i) {
    cpu::swiglu(gate + i * n, up + i * n, valid, h.row(h_offset + slots.begin + i) + first, pass.weights.isa);
  }
}

// Tiles [tile_begin, tile_end) of h for all slots.
void gate_up(const Pass& pass, const cpu::Member& member, const FfnPart& part, std::int64_t slice,
             std::int64_t tile_begin, std::int64_t tile_end, const SlotRange& slots, const Activations& h,
             std::int64_t h_offset) noexcept {
  for (std::int64_t tile = tile_begin; tile < tile_end; tile += kFfnTiles) {
    for_each_piece(slots, [&](const SlotRange& piece) {
      gate_up_piece(pass, member, part, slice, tile, std::min(tile_end, tile + kFfnTiles), piece, h, h_offset);
    });
  }
}

// Adds weight * down(h) to the columns of at most kDownTiles tiles in the rows of at most kSlotPiece slots.
void add_down_piece(const Pass& pass, const cpu::Member& member, const FfnPart& part, std::int64_t slice,
                    std::int64_t tile_begin, std::int64_t tile_end, const SlotRange& slots, const Activations& h,
                    std::int64_t h_offset, const float* slot_weight) noexcept {
  ThreadSpace& thread = thread_of(pass, member);
  const std::int64_t first = tile_begin * cpu::kTileRows, n = (tile_end - tile_begin) * cpu::kTileRows,
                     valid = std::min(n, part.down.n_out - first);
  float* out = thread.tiles.as<float>();
  const cpu::ActFormat format = part.down.layout->act;
  multiply({.weight = part.down,
            .slice = slice,
            .tile_begin = tile_begin,
            .tile_end = tile_end,
            .acts = h.data(format) + static_cast<std::size_t>(h_offset + slots.begin) * h.stride(format),
            .act_stride = h.stride(format),
            .n_acts = slots.count(),
            .out = out - first,
            .out_stride = n,
            .scratch = thread.matmul.data(),
            .prompt = pass.prompt()});
  for (std::int64_t i = 0; i < slots.count(); ++i) {
    const std::int64_t slot = slots.begin + i;
    const float weight = slot_weight == nullptr ? 1.0f : slot_weight[slot];
    float* y = pass.space.normed.row(slots.act_rows == nullptr ? slot : slots.act_rows[slot]) + first;
    for (std::int64_t j = 0; j < valid; ++j) y[j] += weight * out[i * n + j];
  }
}

// Tiles [tile_begin, tile_end) for all slots.
void add_down(const Pass& pass, const cpu::Member& member, const FfnPart& part, std::int64_t slice,
              const cpu::Range& tiles, const SlotRange& slots, const Activations& h, std::int64_t h_offset,
              const float* slot_weight) noexcept {
  for_each_piece(slots, [&](const SlotRange& piece) {
    for (std::int64_t tile = tiles.begin; tile < tiles.end; tile += kDownTiles) {
      add_down_piece(pass, member, part, slice, tile, std::min(tiles.end, tile + kDownTiles), piece, h, h_offset,
                     slot_weight);
    }
  });
}

void route_row(const Pass& pass, const LayerWeights& w, std::int64_t i) noexcept {
  const ModelConfig& c = pass.config();
  Workspace& s = pass.space;
  // Softmax over the chosen logits equals softmax over all, renormalized over the chosen.
  const bool selected = c.gating == GatingKind::kSoftmaxSelected;
  cpu::route({.logits = s.logits.row(i),
              .bias = w.router_bias.empty() ? nullptr : w.router_bias.data(),
              .n_experts = c.n_routed_experts,
              .n_used = c.n_experts_per_tok,
              .n_groups = c.n_group,
              .n_groups_used = c.topk_group,
              .group_score = c.group_score == GroupScoreKind::kMax ? cpu::GroupScore::kMax : cpu::GroupScore::kTop2Sum,
              .gating = c.gating == GatingKind::kSigmoid ? cpu::Gating::kSigmoid : cpu::Gating::kSoftmax,
              .normalize = c.norm_topk_prob || selected,
              .scale = static_cast<float>(c.routed_scaling_factor),
              .ids = s.expert_ids.data() + i * c.n_experts_per_tok,
              .weights = s.expert_weights.data() + i * c.n_experts_per_tok,
              .scratch = s.route_scratch.data() + i * 2 * c.n_routed_experts});
}

// Sorts the (row, expert) pairs by expert, rows ascending inside.
void group_slots(const Pass& pass) noexcept {
  Workspace& s = pass.space;
  const std::int64_t used = pass.config().n_experts_per_tok, n_slots = pass.n() * used;
  std::fill(s.expert_begin.begin(), s.expert_begin.end(), 0);
  for (std::int64_t i = 0; i < n_slots; ++i)
    ++s.expert_begin[static_cast<std::size_t>(s.expert_ids[static_cast<std::size_t>(i)]) + 1];
  for (std::size_t e = 1; e < s.expert_begin.size(); ++e) s.expert_begin[e] += s.expert_begin[e - 1];
  for (std::int64_t i = 0; i < n_slots; ++i) {
    const auto slot =
        static_cast<std::size_t>(s.expert_begin[static_cast<std::size_t>(s.expert_ids[static_cast<std::size_t>(i)])]++);
    s.slot_row[slot] = static_cast<std::int32_t>(i / used);
    s.slot_weight[slot] = s.expert_weights[static_cast<std::size_t>(i)];
  }
  for (std::size_t e = s.expert_begin.size() - 1; e > 0; --e) s.expert_begin[e] = s.expert_begin[e - 1];
  s.expert_begin[0] = 0;
}

SlotRange slots_of(const Workspace& s, std::int64_t expert) {
  const auto e = static_cast<std::size_t>(expert);
  return {s.expert_begin[e], s.expert_begin[e + 1], s.slot_row.data()};
}

std::uint64_t experts_touched(const Workspace& s) {
  std::uint64_t n = 0;
  for (std::size_t e = 0; e + 1 < s.expert_begin.size(); ++e) n += s.expert_begin[e + 1] > s.expert_begin[e];
  return n;
}

// Sum of bytes(part) over the (part, expert) pairs that are read, for the trace.
template <class F>
std::uint64_t expert_bytes(const Pass& pass, const LayerWeights& w, F&& bytes) {
  std::uint64_t sum = 0;
  for (const FfnPart& part : w.experts) {
    for (std::int64_t expert = 0; expert < pass.config().n_routed_experts; ++expert) {
      if (part.slot[static_cast<std::size_t>(expert)] >= 0 && slots_of(pass.space, expert).count() > 0)
        sum += bytes(part);
    }
  }
  return sum;
}

std::uint64_t macs(const PackedMatrix& weight) { return static_cast<std::uint64_t>(weight.n_out * weight.n_in); }

// What the phases kGateUp and kDown multiply: all of the routed experts, the shared one's down.
std::uint64_t expert_macs(const Pass& pass, const LayerWeights& w) {
  std::uint64_t sum = 0;
  for (const FfnPart& part : w.experts) {
    std::uint64_t n_slots = 0;
    for (std::int64_t expert = 0; expert < pass.config().n_routed_experts; ++expert) {
      if (part.slot[static_cast<std::size_t>(expert)] >= 0)
        n_slots += static_cast<std::uint64_t>(slots_of(pass.space, expert).count());
    }
    sum += n_slots * (macs(part.gate) + macs(part.up) + macs(part.down));
  }
  for (const FfnPart& part : w.dense) sum += static_cast<std::uint64_t>(pass.n()) * macs(part.down);
  return sum;
}

std::uint64_t gate_up_bytes(const FfnPart& part) { return part.gate.slice_bytes() + part.up.slice_bytes(); }

// Each slot's row into the sums of its expert. Weights are whole here: sums are not collected from cut models.
template <class F>
void add_expert_inputs(const Pass& pass, const cpu::Member& member, InputSums::Input& input, F&& row_of) noexcept {
  for (std::int64_t expert = 0; expert < pass.config().n_routed_experts; ++expert) {
    const SlotRange slots = slots_of(pass.space, expert);
    for (std::int64_t slot = slots.begin; slot < slots.end; ++slot) input.add(member, expert, row_of(slot));
  }
}

// f(p, slice, slots, tiles) for all tiles of all experts that have rows, dealt over the members. Few rows for an expert:
// equal shares of the tiles, because reading them is the work. Many: kFfnTiles at a time to whoever is free, because
// experts have different numbers of rows.
template <class F>
void for_each_expert_unit(const Pass& pass, const cpu::Member& member, const LayerWeights& w, cpu::WorkCounter& counter,
                          F&& f) noexcept {
  const auto each = [&](auto&& g) {  // g(p, slice, slots, n_tiles) for all experts that have rows
    for (std::size_t p = 0; p < w.experts.size(); ++p) {
      for (std::int64_t expert = 0; expert < pass.config().n_routed_experts; ++expert) {
        const std::int32_t slice = w.experts[p].slot[static_cast<std::size_t>(expert)];
        const SlotRange slots = slots_of(pass.space, expert);
        if (slice >= 0 && slots.count() > 0) g(p, slice, slots, w.experts[p].gate.n_tiles);
      }
    }
  };
  std::int64_t n_experts = 0, n_slots = 0, all_tiles = 0;
  each([&](std::size_t, std::int32_t, const SlotRange& slots, std::int64_t n_tiles) {
    ++n_experts;
    n_slots += slots.count();
    all_tiles += n_tiles;
  });
  if (n_slots > kFewRows * n_experts) {
    std::int64_t unit = 0, mine = counter.take();
    each([&](std::size_t p, std::int32_t slice, const SlotRange& slots, std::int64_t n_tiles) {
      const std::int64_t n_units = (n_tiles + kFfnTiles - 1) / kFfnTiles;
      for (; mine < unit + n_units; mine = counter.take()) {
        const std::int64_t begin = (mine - unit) * kFfnTiles;
        f(p, slice, slots, cpu::Range{begin, std::min(n_tiles, begin + kFfnTiles)});
      }
      unit += n_units;
    });
    return;
  }
  std::int64_t first = 0;
  const cpu::Range mine = member.part(all_tiles);
  each([&](std::size_t p, std::int32_t slice, const SlotRange& slots, std::int64_t n_tiles) {
    const std::int64_t begin = std::max(mine.begin - first, std::int64_t{0}), end = std::min(mine.end - first, n_tiles);
    if (begin < end) f(p, slice, slots, cpu::Range{begin, end});
    first += n_tiles;
  });
}

}  // namespace

void feed_forward(const Pass& pass, const cpu::Member& member, std::int64_t layer) noexcept {
  const ModelConfig& c = pass.config();
  const LayerWeights& w = pass.weights.layers[static_cast<std::size_t>(layer)];
  Workspace& s = pass.space;
  const bool routed = !w.experts.empty();
  const std::int64_t n_slots = pass.n() * c.n_experts_per_tok;
  const SlotRange all{0, pass.n(), nullptr};

  InputSums::Layer* sums = pass.sums_of(layer);
  if (sums != nullptr) add_inputs(pass, member, sums->feed_forward, s.normed);
  if (routed) project(pass, member, w.router, s.normed, s.logits);
  if (member.index == 0) s.counter[1].reset();
  for (std::size_t p = 0; p < w.dense.size(); ++p) {
    const FfnPart& part = w.dense[p];
    const cpu::Range tiles = member.part(part.gate.n_tiles);
    gate_up(pass, member, part, 0, tiles.begin, tiles.end, all, s.h_dense,
            static_cast<std::int64_t>(p) * s.micro_batch);
  }
  finish(
      member, pass.n(),
      [&](std::int64_t i) {
        for (std::size_t p = 0; p < w.dense.size(); ++p)
          s.h_dense.quantize(static_cast<std::int64_t>(p) * s.micro_batch + i, w.dense[p].down.n_in, pass.weights.isa);
        if (routed) route_row(pass, w, i);
      },
      [&] {
        if (routed) group_slots(pass);
      });
  pass.end_phase(member, routed ? Phase::kRouter : Phase::kDenseGateUp, [&] {
    std::uint64_t bytes = routed ? w.router.slice_bytes() : 0;
    for (const FfnPart& part : w.dense) bytes += gate_up_bytes(part);
    return bytes;
  });
  if (sums != nullptr) {
    if (!w.dense.empty()) add_inputs(pass, member, sums->dense_down, s.h_dense);
    if (routed)
      add_expert_inputs(pass, member, sums->experts,
                        [&](std::int64_t slot) { return s.normed.row(s.slot_row[static_cast<std::size_t>(slot)]); });
  }
  if (routed) {
    const std::int64_t max_slots = s.micro_batch * c.n_experts_per_tok;
    for_each_expert_unit(pass, member, w, s.counter[1],
                         [&](std::size_t p, std::int32_t slice, const SlotRange& slots, const cpu::Range& tiles) {
                           gate_up(pass, member, w.experts[p], slice, tiles.begin, tiles.end, slots, s.h_experts,
                                   static_cast<std::int64_t>(p) * max_slots);
                         });
    const auto quantize_slot = [&](std::int64_t slot) {
      for (std::size_t p = 0; p < w.experts.size(); ++p)
        s.h_experts.quantize(static_cast<std::int64_t>(p) * max_slots + slot, w.experts[p].down.n_in, pass.weights.isa);
    };
    if (pass.n() == 1) {
      finish(member, 1, [&](std::int64_t) {
        for (std::int64_t slot = 0; slot < n_slots; ++slot) quantize_slot(slot);
      });
    } else {
      finish(member, n_slots, quantize_slot);
    }
    pass.end_phase(member, Phase::kGateUp, [&] {
      pass.trace->experts_touched += experts_touched(s);
      pass.trace->expert_macs += expert_macs(pass, w);
      ++pass.trace->expert_phases;
      return expert_bytes(pass, w, gate_up_bytes);
    });
  }

  if (sums != nullptr && routed)
    add_expert_inputs(pass, member, sums->experts_down, [&](std::int64_t slot) { return s.h_experts.row(slot); });

  // Down projections: each member owns columns of the output for all experts, so the order of a sum is that of the
  // experts. The normalized rows are no longer needed and take the sums.
  const std::int64_t n_tiles = (c.hidden_size + cpu::kTileRows - 1) / cpu::kTileRows;
  const cpu::Range tiles = member.part(n_tiles);
  const std::int64_t first = tiles.begin * cpu::kTileRows;
  const std::int64_t n = std::min(c.hidden_size, tiles.end * cpu::kTileRows) - first;
  if (n <= 0) return;
  for (std::int64_t i = 0; i < pass.n(); ++i)
    std::memset(s.normed.row(i) + first, 0, static_cast<std::size_t>(n) * sizeof(float));
  for (std::size_t p = 0; p < w.experts.size(); ++p) {
    const FfnPart& part = w.experts[p];
    for (std::int64_t expert = 0; expert < c.n_routed_experts; ++expert) {
      const std::int32_t slice = part.slot[static_cast<std::size_t>(expert)];
      const SlotRange slots = slots_of(s, expert);
      if (slice < 0 || slots.count() == 0) continue;
      add_down(pass, member, part, slice, tiles, slots, s.h_experts,
               static_cast<std::int64_t>(p) * s.micro_batch * c.n_experts_per_tok, s.slot_weight.data());
    }
  }
  for (std::size_t p = 0; p < w.dense.size(); ++p)
    add_down(pass, member, w.dense[p], 0, tiles, all, s.h_dense, static_cast<std::int64_t>(p) * s.micro_batch, nullptr);
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    float* x = s.x.row(i) + first;
    const float* y = s.normed.row(i) + first;
    for (std::int64_t j = 0; j < n; ++j) x[j] += y[j];
  }
}

std::uint64_t down_bytes(const Pass& pass, std::int64_t layer) noexcept {
  const LayerWeights& w = pass.weights.layers[static_cast<std::size_t>(layer)];
  std::uint64_t bytes = expert_bytes(pass, w, [](const FfnPart& part) { return part.down.slice_bytes(); });
  for (const FfnPart& part : w.dense) bytes += part.down.slice_bytes();
  return bytes;
}

}  // namespace dodeca::runtime
