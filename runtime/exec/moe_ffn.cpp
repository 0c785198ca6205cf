#include "runtime/exec/moe_ffn.hpp"

#include <algorithm>
#include <iterator>

#include "quant/check.hpp"
#include "runtime/exec/multiply.hpp"
#include "runtime/exec/routing.hpp"

namespace dodeca::runtime::exec {
namespace {

using enum WeightRole;

// Rows of an expert, on average, up to which its weights take longer to read than to use.
constexpr std::int64_t kFewRowsEach = 4;

std::int64_t router_tiles(const ModelConfig& config) {
  return (config.n_routed_experts + cpu::kTileRows - 1) / cpu::kTileRows;
}

// Weights are whole where inputs are collected.
Tap tap_slots(WeightRole role, RowBuffer buffer, bool by_row) {
  return {role, [=](const Pass& pass, const RowSink& sink) {
            for (std::int64_t expert = 0; expert < pass.config.n_routed_experts; ++expert) {
              const SlotRange slots = slots_of(pass, expert);
              for (std::int64_t slot = slots.begin; slot < slots.end; ++slot) {
                const std::int64_t row = by_row ? slots.row_of(slot) : slot;
                sink(expert, pass.buffer(buffer).row(row), pass.buffer(buffer).factor(row));
              }
            }
          }};
}

}  // namespace

MoeFfn::MoeFfn(const Model& model, const BlockPlan& plan)
    : Block(plan),
      router_(model.weights().parts({kRouter, plan.layer}),
              {.acts = RowBuffer::kInput, .out = RowBuffer::kRouterLogits}),
      gate_(model.weights().parts({kExpertGate, plan.layer})),
      up_(model.weights().parts({kExpertUp, plan.layer})),
      down_(model.weights().parts({kExpertDown, plan.layer})),
      norm_(model.weights().vector({kFfnNorm, plan.layer})),
      router_logit_bias_(model.weights().vector({kRouterLogitBias, plan.layer})),
      router_bias_(model.weights().vector({kRouterBias, plan.layer})),
      gate_bias_(model.weights().vector({kExpertGateBias, plan.layer})),
      up_bias_(model.weights().vector({kExpertUpBias, plan.layer})),
      down_bias_(model.weights().vector({kExpertDownBias, plan.layer})),
      shared_(model, plan, DenseFfn::kShared, router_.n_pieces()),
      n_deferred_(plan.n_deferred),
      adds_deferred_(plan.adds_deferred),
      router_units_(std::ssize(plan.parts)),
      units_(std::ssize(plan.parts)) {
  for (std::int32_t p = 0; p < std::ssize(plan.parts); ++p) {
    const bool shared = std::ranges::find(shared_.output_parts(), p) != shared_.output_parts().end();
    if (shared || (p < std::ssize(down_) && down_[static_cast<std::size_t>(p)])) parts_.push_back(p);
  }
  const auto n_experts = static_cast<std::size_t>(model.config().n_routed_experts);
  for (std::size_t p = 0; p < gate_.size(); ++p) {
    std::int32_t next = 0;
    auto& slice = slice_.emplace_back(n_experts, -1);
    for (std::size_t e = 0; e < n_experts; ++e) {
      const bool mine = plan.experts.expert_part.empty() || plan.experts.expert_part[e] == static_cast<int>(p);
      if (mine && gate_[p]) slice[e] = next++;
    }
  }
  router_blocks_ = router_tiles(model.config());
  few_loads_ = router_.piece_loads();
  for (TileLoad& load : few_loads_) load.tiles_per_block = 1;
  for (TileLoad load : shared_.gate_up_loads()) {
    load.first_block += router_blocks_;
    few_loads_.push_back(load);
  }
  for (const PackedMatrix& part : gate_) expert_blocks_ = std::max(expert_blocks_, blocks_of(part.n_out));
  const std::size_t most = gate_.size() * static_cast<std::size_t>(kFewRows * model.config().n_experts_per_tok);
  for (ExpertSet* set : {&now_, &late_}) {
    set->chosen.reserve(gate_.size() * n_experts);
    set->gate_up_loads.reserve(2 * most);
    set->down_loads.reserve(most + shared_.down_loads().size());
  }
  phases_ = {always_read_phase(), gate_up_phase(now_), down_phase(now_)};
}

void MoeFfn::add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand) {
  const PlannedWeights weights(plan, block);
  demand_routing(plan.config, sizes, demand);
  for (const WeightRole role : {kRouter, kExpertGate, kExpertUp}) demand.read_by(RowBuffer::kInput, weights[role]);
  demand.read_by(RowBuffer::kExpertHidden, weights[kExpertDown]);
  std::int64_t width = 0;
  for (const Span& columns : block.experts.columns) width = std::max(width, columns.size());
  demand.part_rows(RowBuffer::kExpertHidden, sizes.micro_batch * plan.config.n_experts_per_tok, width);
  const std::int64_t few_rows = std::min(sizes.micro_batch, kFewRows), few = few_rows * plan.config.n_experts_per_tok;
  for (const RowBuffer product : {RowBuffer::kGate, RowBuffer::kUp}) demand.part_rows(product, few, width);
  demand.part_rows(RowBuffer::kPartSums, few + most_pieces(weights[kSharedDown]) * few_rows, plan.config.hidden_size);
  PiecedProjection::add_demand({weights[kRouter], weights[kSharedGate], weights[kSharedUp]}, sizes, demand);
  if (block.n_deferred > 0) {
    demand.part_rows(RowBuffer::kDeferredSums, 2 * kFewRows, plan.config.hidden_size);
    demand.rows(RowBuffer::kLateInput, kFewRows, plan.config.hidden_size);
  }
  demand.blocks(router_tiles(plan.config));
  demand.blocks(block.n_parts() * few * blocks_of(width));
  demand.products(sizes.micro_batch);
  if (const WeightPlan* shared = weights[kSharedGate])
    demand.blocks(router_tiles(plan.config) + block.n_parts() * blocks_of(shared->n_out));
  DenseFfn::add_demand(weights, DenseFfn::kShared, sizes, demand);
}

void MoeFfn::set_routed_elsewhere(std::unique_ptr<RoutedElsewhere> place) {
  routed_ = std::move(place);
  norm_ = {};
  phases_.front() = receive_phase();
  phases_.back().last = [this](Pass& pass) {
    for (std::int64_t i = 0; i < pass.n(); ++i) sum_parts(pass, parts_, i, {0, pass.config.hidden_size});
    routed_->give(pass);
  };
  if (n_deferred_ == 0) return;
  phases_.push_back(gate_up_phase(late_));
  phases_.push_back(down_phase(late_));
}

void MoeFfn::set_shared_elsewhere(std::unique_ptr<Elsewhere> place) {
  elsewhere_ = std::move(place);
  Phase& gate_up = phases_[1];
  gate_up.end = PhaseEnd::kAll;
  gate_up.last = [this](Pass& pass) {
    elsewhere_->wait();
    if (pass.few() && !has_down_loads(0)) add_shared_from_elsewhere(pass, {0, pass.config.hidden_size});
  };
}

Phase MoeFfn::receive_phase() const {
  return {
      .name = "wait for routing",
      .deal =
          [this](Pass& pass, const cpu::Member& member) {
            if (member.index == 0) routed_->wait(pass);
          },
      .finish = [](Pass& pass,
                   std::int64_t i) { pass.buffer(RowBuffer::kInput).quantize(i, pass.config.hidden_size, pass.isa); },
      .last =
          [this](Pass& pass) {
            begin_experts(pass);
            keep_late_input(pass);
          }};
}

// ---- router and shared expert ---------------------------------------------------------------------------------------

Phase MoeFfn::always_read_phase() const {
  return {.name = "router, shared",
          .loads =
              [this](const Pass&) {
                return std::span(few_loads_)
                    .first(elsewhere_ ? static_cast<std::size_t>(router_.n_pieces()) : few_loads_.size());
              },
          .run = [this](Pass& pass, const cpu::Member& member, std::size_t load,
                        const cpu::Range& tiles) { run_always_read(pass, member, load, tiles); },
          .deal = [this](Pass& pass, const cpu::Member& member) { deal_always_read(pass, member); },
          .finish_block =
              [this](Pass& pass, std::int64_t block) {
                if (block >= router_blocks_ || !router_blocks_done_.is_last_of(router_blocks_)) return;
                for (std::int64_t i = 0; i < pass.n(); ++i) route_row(pass, router_logit_bias_, router_bias_, i);
              },
          .finish_part =
              [this](Pass& pass, std::int64_t part, std::int64_t block) {
                if (block >= router_blocks_) return shared_.finish_gate_up(pass, block - router_blocks_);
                router_.sum(pass, {block * cpu::kTileRows, (block + 1) * cpu::kTileRows}, part);
              },
          .finish = [this](Pass& pass, std::int64_t i) { finish_routing(pass, i); },
          .last = [this](Pass& pass) { begin_experts(pass); },
          .work = [this](const Pass&) { return always_read_work(); },
          .taps = {tap_rows(kRouter, RowBuffer::kInput)},
          .joint = [this](Pass& pass, std::vector<Region>& regions) { router_.add_regions(pass, regions); }};
}

void MoeFfn::run_always_read(Pass& pass, const cpu::Member& member, std::size_t load, const cpu::Range& tiles) const {
  if (elsewhere_ && load == 0 && tiles.begin == 0) elsewhere_->submit(pass);
  const auto at = static_cast<std::int64_t>(load);
  if (at < router_.n_pieces())
    router_.run(pass, member, at, tiles);
  else
    shared_.run_gate_up(pass, member, load - static_cast<std::size_t>(router_.n_pieces()), tiles);
}

void MoeFfn::deal_always_read(Pass& pass, const cpu::Member& member) const {
  if (elsewhere_ && member.index == 0) elsewhere_->submit(pass);
  deal_router(pass, member);
  if (elsewhere_) return;
  for_share(shared_.pair_loads(), pass.crews.place(member),
            [&](std::size_t part, const cpu::Range& tiles) { shared_.gate_up_tiles(pass, member, part, tiles); });
}

// A tile of the router times some rows to whoever is free: it is in float32, has few tiles, and each takes as long as many
// of the shared expert's.
void MoeFfn::deal_router(Pass& pass, const cpu::Member& member) const {
  constexpr std::int64_t kMostRows = 64, kLeastRows = 16;
  const std::int64_t rows = std::clamp(pass.n() / 8, kLeastRows, kMostRows), n_pieces = (pass.n() + rows - 1) / rows;
  const cpu::CrewPlace& place = pass.crews.place(member);
  cpu::WorkCounter& units = router_units_.of(place);
  std::int64_t first = 0, mine = units.take();
  for (std::int64_t p = place.first_part; p < std::min<std::int64_t>(place.end_part, router_.n_parts()); ++p) {
    const std::int64_t n_units = router_.part(p).front().n_tiles * n_pieces;
    for (; mine < first + n_units; mine = units.take()) {
      const std::int64_t tile = (mine - first) / n_pieces, begin = (mine - first) % n_pieces * rows;
      router_.run_rows(pass, member, p, {tile, tile + 1}, {begin, std::min(pass.n(), begin + rows)});
    }
    first += n_units;
  }
}

void MoeFfn::finish_routing(Pass& pass, std::int64_t i) const {
  if (!elsewhere_ && !pass.few()) shared_.quantize_row(pass, i);
  route_row(pass, router_logit_bias_, router_bias_, i);
}

Work MoeFfn::always_read_work() const { return {.bytes = shared_.gate_up_bytes() + router_.bytes()}; }

// ---- the chosen experts ---------------------------------------------------------------------------------------------

// f(part, slice, expert, slots) for all experts of some parts that have rows here.
template <class F>
void MoeFfn::for_each_expert(const Pass& pass, const cpu::CrewPlace& place, F&& f) const {
  for (auto p = static_cast<std::size_t>(place.first_part); p < static_cast<std::size_t>(place.end_part); ++p) {
    for (std::int64_t expert = 0; expert < pass.config.n_routed_experts; ++expert) {
      const std::int32_t slice = slice_[p][expert];
      const SlotRange slots = slots_of(pass, expert);
      if (slice < 0 || slots.count() == 0 || (routed_ != nullptr && routed_->takes(expert))) continue;
      f(p, slice, expert, slots);
    }
  }
}

void MoeFfn::begin_experts(Pass& pass) const {
  group_slots(pass);
  pass.experts_touched += static_cast<std::int64_t>(experts_touched(pass));
  ++pass.expert_layers;
  choose(pass);
  begin_empty_sums(pass);
  router_units_.reset();
  units_.reset();
}

void MoeFfn::choose(const Pass& pass) const {
  for (ExpertSet* set : {&now_, &late_}) {
    set->chosen.clear();
    set->gate_up_loads.clear();
    set->down_loads.clear();
  }
  deferred_slots_.clear();
  if (const auto n = static_cast<std::size_t>(n_slots(pass)); n_deferred_ > 0 && pass.few()) {
    mark_lightest_slots({pass.space.array<std::int32_t>(ArrayBuffer::kSlotRows), n},
                        {pass.space.array<float>(ArrayBuffer::kSlotWeights), n}, n_deferred_, deferred_slots_);
  }
  const cpu::Range parts = pass.crews.parts_here();
  const cpu::CrewPlace everyone{static_cast<int>(parts.begin),
                                static_cast<int>(std::min(parts.end, std::ssize(gate_)))};
  for_each_expert(pass, everyone, [&](std::size_t p, std::int32_t slice, std::int64_t expert, const SlotRange& slots) {
    bool late = true;
    for (std::int64_t slot = slots.begin; late && slot < slots.end; ++slot) late = defers(slot);
    ExpertSet& set = late ? late_ : now_;
    set.chosen.push_back({p, slice, expert, slots});
    if (!pass.few()) return;
    const auto first = static_cast<std::int64_t>(set.chosen.size() - 1) * expert_blocks_;
    for (const PackedMatrix* weight : {&gate_[p], &up_[p]}) {
      set.gate_up_loads.push_back(load_of(*weight));
      set.gate_up_loads.back().first_tile = 0;  // of the part's row
      set.gate_up_loads.back().first_block = first;
    }
    set.down_loads.push_back(load_of(down_[p]));
  });
  if (!pass.few()) {  // so that the last units are small ones
    std::ranges::sort(now_.chosen, [](const Chosen& a, const Chosen& b) {
      return a.slots.count() != b.slots.count() ? a.slots.count() > b.slots.count() : a.slots.begin < b.slots.begin;
    });
  } else if (shared_here()) {
    now_.down_loads.insert(now_.down_loads.end(), shared_.down_loads().begin(), shared_.down_loads().end());
  }
}

// Behind give() the floats of kInput are the next layer's at any time.
void MoeFfn::keep_late_input(const Pass& pass) const {
  for (std::int64_t i = 0; !late_.chosen.empty() && i < pass.n(); ++i)
    std::copy_n(pass.buffer(RowBuffer::kInput).row(i), pass.config.hidden_size,
                pass.buffer(RowBuffer::kLateInput).row(i));
}

float* MoeFfn::deferred_row(const Pass& pass, std::int64_t layer, std::int64_t part, std::int64_t row) const {
  Activations& sums = pass.buffer(RowBuffer::kDeferredSums);
  return sums.row(sums.first_row(part) + layer % 2 * kFewRows + row);
}

bool MoeFfn::has_down_loads(std::int64_t part) const {
  return std::ranges::any_of(now_.down_loads,
                             [part](const TileLoad& load) { return load.part == part && load.n_tiles > 0; });
}

Phase MoeFfn::gate_up_phase(ExpertSet& set) const {
  return {.name = &set == &late_ ? "late gate, up" : "gate, up",
          .loads = [&set](const Pass&) { return std::span<const TileLoad>(set.gate_up_loads); },
          .run = [this, &set](Pass& pass, const cpu::Member& member, std::size_t load,
                              const cpu::Range& tiles) { run_gate_up(pass, set, member, load, tiles); },
          .deal = [this](Pass& pass, const cpu::Member& member) { deal_gate_up(pass, member); },
          .finish_block = [this, &set](Pass& pass, std::int64_t block) { finish_gate_up(pass, set, block); },
          .finish = [this](Pass& pass, std::int64_t slot) { quantize_slot(pass, slot); },
          .n_items = [](const Pass& pass) { return n_slots(pass); },
          .work = [this, &set](const Pass& pass) { return gate_up_work(pass, set); },
          .taps = {tap_slots(kExpertGate, RowBuffer::kInput, true)},
          .end = PhaseEnd::kPart};
}

// A product of an expert's rows, to the rows of its slots.
void MoeFfn::run_gate_up(Pass& pass, const ExpertSet& set, const cpu::Member& member, std::size_t load,
                         const cpu::Range& tiles) const {
  const auto& [part, slice, expert, slots] = set.chosen[load / 2];
  const PackedMatrix& weight = load % 2 == 0 ? gate_[part] : up_[part];
  const Activations& in = pass.buffer(RowBuffer::kInput);
  Activations& out = pass.buffer(load % 2 == 0 ? RowBuffer::kGate : RowBuffer::kUp);
  const cpu::ActFormat format = weight.layout->act;
  const bool kept = &set == &late_ && format == cpu::ActFormat::kF32;
  const Activations& rows = kept ? pass.buffer(RowBuffer::kLateInput) : in;
  multiply({.weight = weight,
            .slice = slice,
            .tile_begin = tiles.begin,
            .tile_end = tiles.end,
            .acts = rows.data(format),
            .act_stride = rows.stride(format),
            .act_rows = slots.act_rows + slots.begin,
            .act_factors = in.factors(),
            .n_acts = slots.count(),
            .out = out.row(out.first_row(weight.part) + slots.begin),
            .out_stride = out.stride_floats(),
            .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul),
            .prompt = pass.prompt()});
}

void MoeFfn::finish_gate_up(Pass& pass, const ExpertSet& set, std::int64_t block) const {
  const auto& [part, slice, expert, slots] = set.chosen[static_cast<std::size_t>(block / expert_blocks_)];
  for (std::int64_t slot = slots.begin; slot < slots.end; ++slot)
    activate_block(pass, {static_cast<std::int64_t>(part), slot, block % expert_blocks_, gate_[part].n_out},
                   RowBuffer::kExpertHidden, gate_up_bias(part, expert));
}

GateUpBias MoeFfn::gate_up_bias(std::size_t part, std::int64_t expert) const {
  if (gate_bias_.empty()) return {};
  const std::int64_t n_experts = std::ssize(slice_[part]), width = std::ssize(gate_bias_) / n_experts;
  return {.gate = &gate_bias_[expert * width + gate_[part].row_begin],
          .up = &up_bias_[expert * width + up_[part].row_begin]};
}

const float* MoeFfn::down_bias(std::size_t part, std::int64_t expert) const {
  if (down_bias_.empty()) return nullptr;
  for (std::size_t p = 0; p < part; ++p)
    if (down_[p] && slice_[p][expert] >= 0) return nullptr;
  return &down_bias_[expert * (std::ssize(down_bias_) / std::ssize(slice_[part]))];
}

Phase MoeFfn::down_phase(ExpertSet& set) const {
  Phase phase{.name = &set == &late_ ? "late down" : "down",
              .loads = [&set](const Pass&) { return std::span<const TileLoad>(set.down_loads); },
              .run = [this, &set](Pass& pass, const cpu::Member& member, std::size_t load,
                                  const cpu::Range& tiles) { run_down(pass, set, member, load, tiles); },
              .deal = [this](Pass& pass, const cpu::Member& member) { deal_down(pass, member); },
              .finish_part = [this, &set](Pass& pass, std::int64_t part,
                                          std::int64_t block) { finish_down(pass, set, part, block); },
              .work = [this, &set](const Pass& pass) { return down_work(pass, set); },
              .taps = {tap_slots(kExpertDown, RowBuffer::kExpertHidden, false)},
              .joint = [this](Pass& pass, std::vector<Region>& regions) { add_output_regions(pass, parts_, regions); }};
  if (!shared_.down_loads().empty()) phase.taps.push_back(tap_rows(kSharedDown, RowBuffer::kDenseHidden));
  return phase;
}

void MoeFfn::run_down(Pass& pass, const ExpertSet& set, const cpu::Member& member, std::size_t load,
                      const cpu::Range& tiles) const {
  if (load >= set.chosen.size()) return shared_.run_down(pass, member, load - set.chosen.size(), tiles, n_slots(pass));
  const auto& [part, slice, expert, slots] = set.chosen[load];
  const PackedMatrix& weight = down_[part];
  const Activations& in = pass.buffer(RowBuffer::kExpertHidden);
  Activations& out = pass.buffer(RowBuffer::kPartSums);
  const cpu::ActFormat format = weight.layout->act;
  multiply({.weight = weight,
            .slice = slice,
            .tile_begin = tiles.begin,
            .tile_end = tiles.end,
            .acts = in.data(format, in.first_row(weight.part) + slots.begin),
            .act_stride = in.stride(format),
            .n_acts = slots.count(),
            .out = out.row(out.first_row(weight.part) + slots.begin),
            .out_stride = out.stride_floats(),
            .scratch = pass.space.scratch(member, ThreadBuffer::kMatmul),
            .prompt = pass.prompt()});
}

// What the layer before deferred, or zero; and zero for what this one will.
void MoeFfn::begin_sums(const Pass& pass, std::int64_t part, const cpu::Range& columns) const {
  const std::int64_t width = columns.end - columns.begin;
  Activations& sums = pass.buffer(RowBuffer::kOutput);
  for (std::int64_t i = 0; i < pass.n(); ++i) {
    float* out = sums.row(sums.first_row(part) + i) + columns.begin;
    if (adds_deferred_)
      std::copy_n(deferred_row(pass, plan().layer - 1, part, i) + columns.begin, width, out);
    else
      std::fill_n(out, width, 0.0f);
    if (n_deferred_ > 0) std::fill_n(deferred_row(pass, plan().layer, part, i) + columns.begin, width, 0.0f);
  }
}

// Nobody will complete a block of sums that has no terms.
void MoeFfn::begin_empty_sums(const Pass& pass) const {
  for (const std::int32_t part : parts_) {
    if (pass.few() && pass.crews.has(part) && !has_down_loads(part))
      begin_sums(pass, part, {0, pass.config.hidden_size});
  }
}

// In the order of the experts for every row, then the shared one.
void MoeFfn::finish_down(Pass& pass, const ExpertSet& set, std::int64_t part, std::int64_t block) const {
  const cpu::Range columns = columns_of(block, pass.config.hidden_size);
  const std::int64_t width = columns.end - columns.begin;
  Activations &sums = pass.buffer(RowBuffer::kPartSums), &out = pass.buffer(RowBuffer::kOutput);
  const auto* weights = pass.space.array<float>(ArrayBuffer::kSlotWeights);
  if (&set == &now_) begin_sums(pass, part, columns);
  for (const auto& [own, slice, expert, slots] : set.chosen) {
    if (static_cast<std::int64_t>(own) != part) continue;
    const float* bias = down_bias(own, expert);
    for (std::int64_t slot = slots.begin; slot < slots.end; ++slot) {
      const std::int64_t row = slots.row_of(slot);
      DODECA_CHECK(&set == &now_ || defers(slot), slot);  // behind give() nobody may write kOutput
      float* product = sums.row(sums.first_row(part) + slot) + columns.begin;
      add_bias(product, bias == nullptr ? nullptr : bias + columns.begin, width);
      float* to = defers(slot) ? deferred_row(pass, plan().layer, part, row) : out.row(out.first_row(part) + row);
      add_weighted(to + columns.begin, product, weights[slot], width);
    }
  }
  if (&set == &late_) return;
  if (shared_here()) return shared_.add_down_pieces(pass, part, block, n_slots(pass), true);
  if (elsewhere_ != nullptr && part == 0) add_shared_from_elsewhere(pass, columns);
}

void MoeFfn::add_shared_from_elsewhere(const Pass& pass, const cpu::Range& columns) const {
  for (std::int64_t i = 0; i < pass.n(); ++i)
    add_weighted(pass.buffer(RowBuffer::kOutput).row(i) + columns.begin, elsewhere_->output().row(i) + columns.begin,
                 1.0f, columns.end - columns.begin);
}

// f(chosen expert, tiles) for all tiles of gate and up, those of a part dealt over its members. Few rows for an
// expert: equal shares of the tiles, because reading them is the work. Many: kFfnTiles at a time to whoever is free,
// because experts have different numbers of rows.
template <class F>
void MoeFfn::for_each_unit(const cpu::CrewPlace& place, F&& f) const {
  const auto is_mine = [&](std::size_t part) { return place.has(static_cast<std::int64_t>(part)); };
  std::int64_t n_rows = 0, all_tiles = 0;
  for (const Chosen& c : now_.chosen) {
    n_rows += c.slots.count();
    if (is_mine(c.part)) all_tiles += gate_[c.part].n_tiles;
  }
  if (n_rows > kFewRowsEach * std::ssize(now_.chosen)) {
    cpu::WorkCounter& units = units_.of(place);
    std::int64_t unit = 0, mine = units.take();
    for (const Chosen& chosen : now_.chosen) {
      if (!is_mine(chosen.part)) continue;
      const std::int64_t n_tiles = gate_[chosen.part].n_tiles, n_units = (n_tiles + kFfnTiles - 1) / kFfnTiles;
      for (; mine < unit + n_units; mine = units.take()) {
        const std::int64_t begin = (mine - unit) * kFfnTiles;
        f(chosen, cpu::Range{begin, std::min(n_tiles, begin + kFfnTiles)});
      }
      unit += n_units;
    }
    return;
  }
  std::int64_t first = 0;
  const cpu::Range mine = place.share(all_tiles);
  for (const Chosen& chosen : now_.chosen) {
    if (!is_mine(chosen.part)) continue;
    const std::int64_t n_tiles = gate_[chosen.part].n_tiles, begin = std::max(mine.begin - first, std::int64_t{0}),
                       end = std::min(mine.end - first, n_tiles);
    if (begin < end) f(chosen, cpu::Range{begin, end});
    first += n_tiles;
  }
}

void MoeFfn::deal_gate_up(Pass& pass, const cpu::Member& member) const {
  const cpu::CrewPlace& place = pass.crews.place(member);
  for_each_unit(place, [&](const Chosen& chosen, const cpu::Range& tiles) {
    const auto& [p, slice, expert, slots] = chosen;
    gate_up(pass, member,
            {.gate = {&gate_[p], 1},
             .up = {&up_[p], 1},
             .slice = slice,
             .tiles = tiles,
             .slots = slots,
             .hidden = RowBuffer::kExpertHidden,
             .hidden_offset = pass.buffer(RowBuffer::kExpertHidden).first_row(gate_[p].part),
             .bias = gate_up_bias(p, expert)});
  });
}

void MoeFfn::quantize_slot(Pass& pass, std::int64_t slot) const {
  Activations& hidden = pass.buffer(RowBuffer::kExpertHidden);
  for (const PackedMatrix& down : down_) {
    if (down && pass.crews.has(down.part)) hidden.quantize(hidden.first_row(down.part) + slot, down.n_in, pass.isa);
  }
}

// Each member owns columns of its part's output for all experts, so that the order of a sum is that of the experts.
void MoeFfn::deal_down(Pass& pass, const cpu::Member& member) const {
  const cpu::CrewPlace& place = pass.crews.place(member);
  clear_own_columns(pass, member);
  for_each_expert(pass, place, [&](std::size_t p, std::int32_t slice, std::int64_t expert, const SlotRange& slots) {
    add_down(pass, member,
             {.down = down_[p],
              .slice = slice,
              .tiles = place.share(down_[p].n_tiles),
              .slots = slots,
              .hidden = RowBuffer::kExpertHidden,
              .hidden_offset = pass.buffer(RowBuffer::kExpertHidden).first_row(down_[p].part),
              .slot_weights = pass.space.array<float>(ArrayBuffer::kSlotWeights),
              .bias = down_bias(p, expert)});
  });
  if (elsewhere_)
    add_own_columns(pass, member, elsewhere_->output());
  else if (shared_here())
    shared_.add_down_columns(pass, member);
}

Work MoeFfn::gate_up_work(const Pass& pass, const ExpertSet& set) const {
  Work work;
  if (&set == &now_)
    work.experts = routed_ == nullptr ? experts_touched(pass) : now_.chosen.size() + late_.chosen.size();
  for (const auto& [p, slice, expert, slots] : set.chosen) {
    work.bytes += gate_[p].slice_bytes() + up_[p].slice_bytes();
    work.expert_macs += static_cast<std::uint64_t>(slots.count()) * (gate_[p].macs() + up_[p].macs());
  }
  return work;
}

Work MoeFfn::down_work(const Pass& pass, const ExpertSet& set) const {
  Work work;
  if (&set == &now_ && shared_here())
    work = {.bytes = shared_.down_bytes(), .expert_macs = static_cast<std::uint64_t>(pass.n()) * shared_.down_macs()};
  for (const auto& [p, slice, expert, slots] : set.chosen) {
    work.bytes += down_[p].slice_bytes();
    work.expert_macs += static_cast<std::uint64_t>(slots.count()) * down_[p].macs();
  }
  return work;
}

}  // namespace dodeca::runtime::exec
