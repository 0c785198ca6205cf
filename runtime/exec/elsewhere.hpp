// A block that runs somewhere else than on the team of the pass: a whole one on another team, or all but the routed
// experts on a device. The pass hands it rows and takes rows back; what happens between is its own business.
#pragma once

#include "runtime/exec/block.hpp"

namespace dodeca::runtime::exec {

class Elsewhere {
 public:
  virtual ~Elsewhere() = default;
  // By one member, when the rows of kInput are complete. Takes what it needs of them before it returns, and goes on in
  // the background.
  virtual void submit(const Pass& pass) = 0;
  // By one member, any: returns when the block is done. output() then holds its rows until the next submit().
  virtual void wait() = 0;
  virtual const Activations& output() const = 0;
};

// Routing elsewhere: by what keeps the residual stream, and computes all but the routed experts.
class RoutedElsewhere {
 public:
  virtual ~RoutedElsewhere() = default;
  // By one member: returns when the rows of kInput (floats and factors), kExpertIds and kExpertWeights are there.
  virtual void wait(Pass& pass) = 0;
  // Behind wait(), whether the rows of the pass that chose the expert are computed there too, and not here.
  virtual bool takes(std::int64_t expert) const = 0;
  // By one member: the experts' sums are in kOutput.
  virtual void give(Pass& pass) = 0;
};

// A whole block elsewhere: submitted, waited for, added.
class RemoteBlock final : public Block {
 public:
  RemoteBlock(const BlockPlan& plan, std::span<const float> norm, std::unique_ptr<Elsewhere> place);
  std::span<const Phase> phases(const Pass&) const override { return phases_; }
  std::span<const float> norm() const override { return norm_; }

 private:
  std::span<const float> norm_;
  std::unique_ptr<Elsewhere> place_;
  std::vector<Phase> phases_;
};

// The member's columns of part 0 of kOutput += those of rows from elsewhere.
void add_own_columns(const Pass& pass, const cpu::Member& member, const Activations& rows) noexcept;

}  // namespace dodeca::runtime::exec
