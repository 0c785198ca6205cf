// A feed-forward block of routed experts and a shared one (DeepSeek-V3 report, section 2.1.2): the router chooses
// experts for each row, their results are added by weight, in ascending order of the experts for every row, so that a
// row's bits do not depend on which rows are beside it; the shared expert is added behind them.
#pragma once

#include "runtime/exec/dense_ffn.hpp"
#include "runtime/exec/elsewhere.hpp"

namespace dodeca::runtime::exec {

class MoeFfn final : public Block {
 public:
  MoeFfn(const Model& model, const BlockPlan& plan);
  static void add_demand(const Plan& plan, const BlockPlan& block, const RunSizes& sizes, Demand& demand);

  std::span<const Phase> phases(const Pass& pass) const override {
    return std::span(phases_).first(pass.few() ? phases_.size() : kPhases);
  }
  std::span<const float> norm() const override { return norm_; }

  // Not null: the shared expert is computed there, while this block routes and runs the chosen experts.
  void set_shared_elsewhere(std::unique_ptr<Elsewhere> place);
  // Only the routed experts run here.
  void set_routed_elsewhere(std::unique_ptr<RoutedElsewhere> place);
  std::span<const std::int32_t> output_parts() const override {
    return routed_ == nullptr ? std::span<const std::int32_t>(parts_) : std::span<const std::int32_t>();
  }
  std::int64_t input_of(const Pass&, std::int64_t row) const override { return routed_ == nullptr ? row : -1; }

 private:
  static constexpr std::size_t kPhases = 3;  // and two for late experts
  bool shared_here() const { return elsewhere_ == nullptr && routed_ == nullptr; }
  Phase receive_phase() const;
  // What is read for every row whatever was chosen: the router, and gate and up of the shared expert.
  Phase always_read_phase() const;
  void run_always_read(Pass& pass, const cpu::Member& member, std::size_t load, const cpu::Range& tiles) const;
  void deal_always_read(Pass& pass, const cpu::Member& member) const;
  void deal_router(Pass& pass, const cpu::Member& member) const;
  void finish_routing(Pass& pass, std::int64_t i) const;

  // The experts that have rows. Few rows: in ascending order; gate and up of each are loads, [2 * k] and [2 * k + 1], then
  // their down products. Many: those with the most rows first. Made behind the routing; the room is there from the beginning.
  struct Chosen {
    std::size_t part;
    std::int32_t slice;
    std::int64_t expert;
    SlotRange slots;
  };
  struct ExpertSet {
    std::vector<Chosen> chosen;
    std::vector<TileLoad> gate_up_loads, down_loads;
  };
  void begin_experts(Pass& pass) const;  // once ids and weights of all rows are there
  void choose(const Pass& pass) const;
  Phase gate_up_phase(ExpertSet& set) const;
  void run_gate_up(Pass& pass, const ExpertSet& set, const cpu::Member& member, std::size_t load,
                   const cpu::Range& tiles) const;
  void finish_gate_up(Pass& pass, const ExpertSet& set, std::int64_t block) const;
  GateUpBias gate_up_bias(std::size_t part, std::int64_t expert) const;
  // Of an expert whose columns are cut, the first part that has some adds it.
  const float* down_bias(std::size_t part, std::int64_t expert) const;
  Phase down_phase(ExpertSet& set) const;
  void run_down(Pass& pass, const ExpertSet& set, const cpu::Member& member, std::size_t load,
                const cpu::Range& tiles) const;
  void begin_sums(const Pass& pass, std::int64_t part, const cpu::Range& columns) const;
  void begin_empty_sums(const Pass& pass) const;
  void add_shared_from_elsewhere(const Pass& pass, const cpu::Range& columns) const;
  void finish_down(Pass& pass, const ExpertSet& set, std::int64_t part, std::int64_t block) const;
  bool has_down_loads(std::int64_t part) const;

  // Few rows, with experts that are added one layer later (BlockPlan::n_deferred): those of a row that weigh least. An
  // expert that all its rows defer is multiplied behind give(), while what routes goes on; what a row defers is added to
  // kDeferredSums whenever it was multiplied, so that a row's bits do not depend on the rows beside it.
  void keep_late_input(const Pass& pass) const;
  bool defers(std::int64_t slot) const {
    return !deferred_slots_.empty() && deferred_slots_[static_cast<std::size_t>(slot)] != 0;
  }
  float* deferred_row(const Pass& pass, std::int64_t layer, std::int64_t part, std::int64_t row) const;

  // Many rows.
  void deal_gate_up(Pass& pass, const cpu::Member& member) const;
  void quantize_slot(Pass& pass, std::int64_t slot) const;
  void deal_down(Pass& pass, const cpu::Member& member) const;

  template <class F>
  void for_each_expert(const Pass& pass, const cpu::CrewPlace& place, F&& f) const;
  template <class F>
  void for_each_unit(const cpu::CrewPlace& place, F&& f) const;
  Work always_read_work() const;
  Work gate_up_work(const Pass& pass, const ExpertSet& set) const;
  Work down_work(const Pass& pass, const ExpertSet& set) const;

  PiecedProjection router_;
  std::span<const PackedMatrix> gate_, up_, down_;  // one per part
  std::vector<std::int32_t> parts_;                 // that have experts, or something of the shared one
  std::span<const float> norm_, router_logit_bias_, router_bias_;
  std::span<const float> gate_bias_, up_bias_, down_bias_;  // [expert][column]; empty: none
  std::vector<std::vector<std::int32_t>> slice_;  // [part][expert] slice that holds the expert, -1: in another part
  DenseFfn shared_;
  std::unique_ptr<Elsewhere> elsewhere_;
  std::unique_ptr<RoutedElsewhere> routed_;
  std::vector<TileLoad> few_loads_;  // of the router's pieces, then of the shared expert's
  std::vector<Phase> phases_;
  std::int64_t router_blocks_ = 0;  // of its results, one per tile
  std::int64_t expert_blocks_ = 0;  // of an expert's hidden row, in its widest part
  std::int64_t n_deferred_ = 0;
  bool adds_deferred_ = false;
  mutable ExpertSet now_, late_;
  mutable std::vector<char> deferred_slots_;  // [slots of few rows]; empty: none is
  mutable Arrivals router_blocks_done_;
  mutable cpu::CrewCounters router_units_;
  mutable cpu::CrewCounters units_;  // of gate and up, where they are dealt one by one
};

}  // namespace dodeca::runtime::exec
