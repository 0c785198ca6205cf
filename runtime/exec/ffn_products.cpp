#include "runtime/exec/ffn_products.hpp"

#include <algorithm>

#include "cpu/kernels/activation/activation.hpp"
#include "runtime/exec/multiply.hpp"
#include "runtime/exec/pieced_projection.hpp"

namespace dodeca::runtime::exec {
namespace {

void activate(const Pass& pass, const float* gate, const float* up, std::int64_t n, float* out) noexcept {
  if (pass.config.activation == ActivationKind::kClampedSwiGlu)
    cpu::clamped_swiglu(gate, up, n, out, pass.isa);
  else
    cpu::swiglu(gate, up, n, out, pass.isa);
}

// f(slots) for kPieceRows slots at a time, whose products stay in cache.
template <class F>
void for_each_piece(const SlotRange& slots, F&& f) noexcept {
  for (std::int64_t begin = slots.begin; begin < slots.end; begin += kPieceRows)
    f(SlotRange{begin, std::min(slots.end, begin + kPieceRows), slots.act_rows});
}

// At most kFfnTiles tiles and kPieceRows slots.
void gate_up_piece(const Pass& pass, const cpu::Member& member, const GateUp& p, const cpu::Range& tiles,
                   const SlotRange& slots) noexcept {
  const std::int64_t n = (tiles.end - tiles.begin) * cpu::kTileRows, first = tiles.begin * cpu::kTileRows;
  auto* gate = reinterpret_cast<float*>(pass.space.scratch(member, ThreadBuffer::kProducts));
  float* up = gate + slots.count() * n;
  const Activations& in = pass.buffer(RowBuffer::kInput);
  for (const auto& [pieces, out] : {std::pair{p.gate, gate}, std::pair{p.up, up}}) {
    const cpu::ActFormat format = pieces.front().layout->act;
    const std::int64_t first_act = slots.act_rows == nullptr ? slots.begin : 0;
    multiply_pieces(pieces, {.weight = pieces.front(),
                             .slice = p.slice,
                             .tile_begin = tiles.begin,
                             .tile_end = tiles.end,
                             .acts = in.data(format, first_act),
                             .act_stride = in.stride(format),
                             .act_rows = slots.act_rows == nullptr ? nullptr : slots.act_rows + slots.begin,
                             .act_factors = in.factors() + first_act,
                             .n_acts = slots.count(),
                             .out = out - first,
                             .out_stride = n,
                             .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul),
                             .prompt = pass.prompt()});
  }
  const std::int64_t valid = std::min(n, p.gate.front().n_out - first);
  Activations& hidden = pass.buffer(p.hidden);
  const auto from = [first](const float* bias) { return bias == nullptr ? nullptr : bias + first; };
  for (std::int64_t i = 0; i < slots.count(); ++i) {
    add_bias(gate + i * n, from(p.bias.gate), valid);
    add_bias(up + i * n, from(p.bias.up), valid);
    activate(pass, gate + i * n, up + i * n, valid, hidden.row(p.hidden_offset + slots.begin + i) + first);
  }
}

// At most kProductTiles tiles and kPieceRows slots.
void add_down_piece(const Pass& pass, const cpu::Member& member, const Down& p, const cpu::Range& tiles,
                    const SlotRange& slots) noexcept {
  const std::int64_t first = tiles.begin * cpu::kTileRows, n = (tiles.end - tiles.begin) * cpu::kTileRows,
                     valid = std::min(n, p.down.n_out - first);
  auto* out = reinterpret_cast<float*>(pass.space.scratch(member, ThreadBuffer::kProducts));
  const cpu::ActFormat format = p.down.layout->act;
  const Activations& hidden = pass.buffer(p.hidden);
  multiply({.weight = p.down,
            .slice = p.slice,
            .tile_begin = tiles.begin,
            .tile_end = tiles.end,
            .acts = hidden.data(format, p.hidden_offset + slots.begin, p.down.column_begin),
            .act_stride = hidden.stride(format),
            .n_acts = slots.count(),
            .out = out - first,
            .out_stride = n,
            .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul),
            .prompt = pass.prompt()});
  for (std::int64_t i = 0; i < slots.count(); ++i) {
    const std::int64_t slot = slots.begin + i;
    const float weight = p.slot_weights == nullptr ? 1.0f : p.slot_weights[slot];
    add_bias(out + i * n, p.bias == nullptr ? nullptr : p.bias + first, valid);
    Activations& sums = pass.buffer(RowBuffer::kOutput);
    add_weighted(sums.row(sums.first_row(p.down.part) + slots.row_of(slot)) + first, out + i * n, weight, valid);
  }
}

}  // namespace

void gate_up(const Pass& pass, const cpu::Member& member, const GateUp& p) noexcept {
  for (std::int64_t tile = p.tiles.begin; tile < p.tiles.end; tile += kFfnTiles) {
    for_each_piece(p.slots, [&](const SlotRange& piece) {
      gate_up_piece(pass, member, p, {tile, std::min(p.tiles.end, tile + kFfnTiles)}, piece);
    });
  }
}

void add_down(const Pass& pass, const cpu::Member& member, const Down& p) noexcept {
  for_each_piece(p.slots, [&](const SlotRange& piece) {
    for (std::int64_t tile = p.tiles.begin; tile < p.tiles.end; tile += kProductTiles)
      add_down_piece(pass, member, p, {tile, std::min(p.tiles.end, tile + kProductTiles)}, piece);
  });
}

void activate_block(const Pass& pass, const HiddenBlock& at, RowBuffer hidden, const GateUpBias& bias) noexcept {
  const cpu::Range columns = columns_of(at.block, at.width);
  const std::int64_t n = columns.end - columns.begin;
  Activations &out = pass.buffer(hidden), &gate = pass.buffer(RowBuffer::kGate), &up = pass.buffer(RowBuffer::kUp);
  const std::int64_t row = out.first_row(at.part) + at.row;
  float *gates = gate.row(gate.first_row(at.part) + at.row) + columns.begin,
        *ups = up.row(up.first_row(at.part) + at.row) + columns.begin;
  if (bias.gate != nullptr) add_bias(gates, bias.gate + columns.begin, n);
  if (bias.up != nullptr) add_bias(ups, bias.up + columns.begin, n);
  activate(pass, gates, ups, n, out.row(row) + columns.begin);
  out.quantize_block(row, at.block, at.width, pass.isa);
}

void add_bias(float* y, const float* x, std::int64_t n) noexcept {
  if (x == nullptr) return;
  for (std::int64_t j = 0; j < n; ++j) y[j] += x[j];
}

void add_weighted(float* y, const float* x, float weight, std::int64_t n) noexcept {
  for (; n >= cpu::kTileRows; n -= cpu::kTileRows, y += cpu::kTileRows, x += cpu::kTileRows) {
    for (std::int64_t j = 0; j < cpu::kTileRows; ++j) y[j] += weight * x[j];  // a known length becomes vectors
  }
  for (std::int64_t j = 0; j < n; ++j) y[j] += weight * x[j];
}

void project_parts(const Pass& pass, const cpu::Member& member, std::span<const PackedMatrix> pieces, RowBuffer acts,
                   bool accumulate) noexcept {
  const cpu::CrewPlace& place = pass.crews.place(member);
  const cpu::Range own = place.share((pass.config.hidden_size + cpu::kTileRows - 1) / cpu::kTileRows);
  const Activations& in = pass.buffer(acts);
  Activations& out = pass.buffer(RowBuffer::kOutput);
  for (std::int64_t tile = own.begin; tile < own.end; tile += kProductTiles) {
    for (std::int64_t i = 0; i < pass.n(); i += kPieceRows) {
      for (const PackedMatrix& piece : pieces) {
        if (!piece || !place.has(piece.part)) continue;
        const cpu::ActFormat format = piece.layout->act;
        multiply({.weight = piece,
                  .tile_begin = tile,
                  .tile_end = std::min(own.end, tile + kProductTiles),
                  .acts = in.data(format, in.first_row(piece.part) + i, piece.column_begin),
                  .act_stride = in.stride(format),
                  .n_acts = std::min(pass.n() - i, kPieceRows),
                  .out = out.row(out.first_row(piece.part) + i),
                  .out_stride = out.stride_floats(),
                  .accumulate = accumulate || piece.column_begin > 0,
                  .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul),
                  .prompt = pass.prompt()});
      }
    }
  }
}

void add_pieces(const Pass& pass, const PartSums& sums, std::int64_t part, std::int64_t block) noexcept {
  const cpu::Range columns = columns_of(block, pass.config.hidden_size);
  const std::int64_t n = columns.end - columns.begin;
  Activations &out = pass.buffer(RowBuffer::kOutput), &products = pass.buffer(RowBuffer::kPartSums);
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    float* y = out.row(out.first_row(part) + i) + columns.begin;
    std::int64_t row = products.first_row(part) + sums.first_row + i;
    for (const PackedMatrix& piece : sums.pieces) {
      if (piece.part != part || !piece) continue;
      const float* x = products.row(row) + columns.begin;
      row += pass.n();
      if (sums.accumulate || piece.column_begin > 0)
        add_weighted(y, x, 1.0f, n);
      else
        std::copy_n(x, n, y);
    }
  }
}

std::int64_t index_in_part(std::span<const PackedMatrix> pieces, std::size_t piece) {
  std::int64_t index = 0;
  while (piece > 0 && pieces[piece - 1].part == pieces[piece].part) {
    --piece;
    ++index;
  }
  return index;
}

std::int64_t most_pieces(const WeightPlan* weight) {
  std::int64_t most = 0;
  if (weight == nullptr) return most;
  for (const WeightPart& part : weight->parts)
    most = std::max(most, (part.columns.size() + weight->stored_columns() - 1) / weight->stored_columns());
  return most;
}

void clear_own_columns(const Pass& pass, const cpu::Member& member) noexcept {
  const cpu::CrewPlace& place = pass.crews.place(member);
  const cpu::Range columns = own_columns(pass, member);
  Activations& out = pass.buffer(RowBuffer::kOutput);
  for (std::int64_t part = place.first_part; part < place.end_part; ++part) {
    for (std::int64_t i = 0; i < pass.n(); ++i)
      std::fill(out.row(out.first_row(part) + i) + columns.begin, out.row(out.first_row(part) + i) + columns.end, 0.0f);
  }
}

}  // namespace dodeca::runtime::exec
