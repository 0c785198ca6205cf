// A loaded model: its plan and its placed weights. Read-only after load, shared by executors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "cpu/team.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/base/log.hpp"
#include "runtime/model/weight_source.hpp"
#include "runtime/plan/plan.hpp"
#include "runtime/weights/weight_store.hpp"

namespace dodeca::runtime {

struct LoadOptions {
  bool check_memory = true;       // refuse when weights + extra_bytes exceed what is free
  std::uint64_t extra_bytes = 0;  // cache and work space that will be asked for, for the check and its message
  Progress progress = {};         // bytes read of all
  // Called for every weight when it is in the store; those of a device are dropped there afterwards.
  std::function<void(const WeightPlan&, const WeightStore&)> take = {};
  // Where one part is here: its share of the contents to all of them.
  std::function<PlacedSum(const PlacedSum&)> complete = {};
};

class Model {
 public:
  // Reads, repacks and places every weight as the plan says. Throws Error{kDoesNotFit} before reading when memory is
  // short, Error{kUnsupported} when a kernel is wrong on this processor; Stopped when progress returned false.
  static std::unique_ptr<Model> load(const WeightSource& source, Plan plan, cpu::Team& team, const LoadOptions& options,
                                     const Log& log);

  // The shapes of all weights without any memory behind them: for asking how work would be dealt.
  static std::unique_ptr<Model> without_weights(Plan plan);

  const Plan& plan() const { return plan_; }
  const ModelConfig& config() const { return plan_.config; }
  const WeightStore& weights() const { return weights_; }
  cpu::Isa isa() const { return plan_.options.isa; }
  std::uint64_t weight_bytes() const { return plan_.bytes; }  // in memory
  std::uint64_t contents() const {
    return contents_;
  }  // a checksum of every weight of the main layers as it was read (model/contents.hpp)

 private:
  explicit Model(Plan plan) : plan_(std::move(plan)) {}
  Plan plan_;
  WeightStore weights_;
  std::uint64_t contents_ = 0;
};

}  // namespace dodeca::runtime
