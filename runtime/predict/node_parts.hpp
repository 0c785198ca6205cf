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
  // Every node takes `bytes` from each other one, through cache lines that its members pull; at most: where one member
  // adds what all parts have and gives out the sum, less goes there.
  double exchange_seconds(double bytes) const;

 private:
  const MachineSpec& machine_;
  const int n_threads_, n_parts_;
  MachineSpec node_;
};

// Bytes of a row that every part gives to the others behind the products of a weight: those whose readers are members of
// all parts. None: only members of its own part read the results.
std::optional<double> exchange_bytes(const ModelConfig& config, WeightRole role);

}  // namespace dodeca::runtime::predict
