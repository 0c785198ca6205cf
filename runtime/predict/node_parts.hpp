// A machine of which each memory node works on a part of the model: what the members of a part have, and what it costs
// that results of all parts come together. One part is the machine as it is, whose memory lies on all nodes alike.
#pragma once

#include <optional>

#include "cpu/team.hpp"
#include "runtime/model/config.hpp"
#include "runtime/model/weight_role.hpp"
#include "runtime/predict/machine_spec.hpp"

namespace dodeca::runtime::predict {

// With few rows in flight a core waits for so many lines at once, in places that hardware does not foresee.
inline constexpr double kLineBytes = 64, kLinesInFlight = 24;

// Rows whose results come from all parts and are read by members of all, through cache lines that they pull.
struct Exchange {
  double bytes = 0;  // of all rows
  // 1: each part has some columns. 2: each has a sum of its own; the sum over parts is made once, column by column on
  // any node, and then read by all.
  int n_steps = 1;
  Exchange of_rows(double n) const { return {bytes * n, n_steps}; }
};
// For a row, behind the products of a weight. None: only members of its own part read the results.
std::optional<Exchange> exchange_of(const ModelConfig& config, WeightRole role);

class NodeParts {
 public:
  // n_parts: 1, or one for each memory node. Members lie on the nodes in equal shares, in their order.
  NodeParts(const MachineSpec& machine, int n_threads, int n_parts);

  int n_parts() const { return n_parts_; }
  int n_threads() const { return n_threads_; }
  cpu::Range members(int part) const { return {n_threads_ * part / n_parts_, n_threads_ * (part + 1) / n_parts_}; }
  int n_members(int part) const { return static_cast<int>(members(part).end - members(part).begin); }
  // One node, as a machine of its own.
  const MachineSpec& node() const { return node_; }

  double read_bandwidth() const;                // bytes per second of all members together
  double node_barrier_seconds(int part) const;  // of the members of a part
  double machine_barrier_seconds() const;       // of all
  double exchange_seconds(const Exchange& exchange) const;

 private:
  const MachineSpec& machine_;
  const int n_threads_, n_parts_;
  MachineSpec node_;
};

}  // namespace dodeca::runtime::predict
