#include "runtime/predict/node_parts.hpp"

#include <algorithm>
#include <cmath>

namespace dodeca::runtime::predict {
namespace {

MachineSpec node_of(const MachineSpec& machine, int n_parts) {
  MachineSpec node = machine;
  if (n_parts == 1) return node;
  const bool measured = !machine.teams.empty() || machine.read_gb_s.known();
  const double nodes = n_parts, sockets = machine.sockets.value;
  node.sockets.value = node.nodes_per_socket.value = 1;
  node.complexes.value = std::max(1.0, std::floor(machine.n_complexes() / nodes));
  node.cores_per_complex.value = std::max(1.0, std::floor(machine.n_cores() / nodes / node.complexes.value));
  node.channels.value = sockets * machine.channels.value / nodes;
  node.memory_gib.value = machine.memory_gib.value / nodes;
  node.read_gb_s = node.barrier_us = {};
  node.teams.clear();
  // What was measured on several sockets crossed their links.
  if (measured && sockets == 1) {
    node.read_gb_s = machine.read_gb_s;
    node.read_gb_s.value = machine.read_bandwidth(machine.n_cores()) / 1e9 / nodes;
    node.read_gb_s.evidence = Evidence::kComputed;
  }
  return node;
}

}  // namespace

NodeParts::NodeParts(const MachineSpec& machine, int n_threads, int n_parts)
    : machine_(machine), n_threads_(n_threads), n_parts_(n_parts), node_(node_of(machine, n_parts)) {}

double NodeParts::read_bandwidth() const {
  double all = 0;
  for (int p = 0; p < n_parts_; ++p) all += node_.read_bandwidth(n_members(p));
  return all;
}

double NodeParts::node_barrier_seconds(int part) const { return node_.barrier_seconds(n_members(part)); }

double NodeParts::machine_barrier_seconds() const {
  if (n_parts_ == 1 || n_threads_ < 2) return machine_.barrier_seconds(n_threads_);
  if (machine_.barrier_us.known() && n_threads_ >= machine_.n_cores()) return 1e-6 * machine_.barrier_us.value;
  // By L3, by node, then the nodes one after the other, and back.
  return node_.barrier_seconds(n_members(0)) + 1e-9 * machine_.farthest_ns() * (n_parts_ + kReleaseHandOvers);
}

double NodeParts::exchange_seconds(const Exchange& exchange) const {
  if (n_parts_ == 1 || exchange.bytes <= 0) return 0;
  const double sockets = machine_.sockets.value, of_socket = n_parts_ / sockets, members = n_members(0),
               near_nodes = of_socket - 1, far_nodes = n_parts_ - of_socket;
  // What a node takes from each other one.
  const double bytes = exchange.n_steps * exchange.bytes / n_parts_;
  const auto pull = [&](double nodes, double line_ns) {
    return nodes * bytes / members / (kLineBytes * kLinesInFlight) * line_ns * 1e-9;
  };
  const double lines = pull(near_nodes, machine_.far_ns.value) + pull(far_nodes, machine_.farthest_ns()),
               link = sockets > 1 ? of_socket * far_nodes * bytes / (1e9 * machine_.link_gb_s()) : 0;
  // However few they are, the first line of a step has its way.
  return exchange.n_steps * machine_.farthest_ns() * 1e-9 + std::max(lines, link);
}

std::optional<Exchange> exchange_of(const ModelConfig& config, WeightRole role) {
  using enum WeightRole;
  const auto floats = [](std::int64_t n) { return sizeof(float) * static_cast<double>(n); };
  switch (role) {
    case kQA:
    case kKvA:
      return Exchange{floats(config.q_lora_rank + config.kv_lora_rank + config.qk_rope_head_dim)};
    case kQ:  // keys and values, or the latent: for every node's copy of the cache
      return Exchange{floats(config.kv_lora_rank > 0 ? config.kv_lora_rank + config.qk_rope_head_dim
                                                     : 2 * config.n_kv_heads * config.head_dim)};
    case kAttentionOutput:
    case kDown:
    case kExpertDown:
      return Exchange{floats(config.hidden_size), 2};
    case kRouter:
      return Exchange{floats(config.n_routed_experts)};
    default:
      return std::nullopt;
  }
}

}  // namespace dodeca::runtime::predict
