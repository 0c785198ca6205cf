#include "runtime/weights/weight_store.hpp"

#include <set>
#include <string>

namespace dodeca::runtime {

void WeightStore::reserve(const Plan& plan, const Log& log) {
  std::vector<std::size_t> parts(plan.options.shares.size(), 0);
  std::size_t shared = 0;
  for (const WeightPlan& weight : plan.weights) {
    if (weight.place == Place::kDevice) continue;
    if (weight.layout == nullptr) {
      shared = cpu::Slab::end_of_piece(shared, weight.bytes);
    } else {
      for (const PackedMatrix& m : unplaced(weight)) {
        if (plan.holds(m.part)) parts[m.part] = cpu::Slab::end_of_piece(parts[m.part], m.bytes());
      }
    }
  }
  here_ = plan.options.here;
  const Placement& placement = plan.options.placement;
  std::set<std::string> reasons;  // the same for every slab where there is one pool
  bool refused = false;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    slabs_.emplace_back(parts[p], cpu::SlabOptions{placement.nodes_of(p), placement.pages});
    if (const std::string& reason = slabs_.back().fallback_reason(); !reason.empty() && reasons.insert(reason).second)
      log(Level::kWarning, "transparent huge pages instead of those of a pool: " + reason);
    refused = refused || (!placement.nodes_of(p).empty() && parts[p] > 0 && !slabs_.back().bound());
  }
  if (refused)
    log(Level::kWarning,
        "this system does not let memory be bound to nodes, so it lies where the threads that load happen to touch it: "
        "containers forbid mbind unless they have the capability SYS_NICE");
  shared_ = cpu::Slab(shared, {placement.all_nodes(), cpu::HugePages::kTransparent});
}

void WeightStore::place(const WeightPlan& weight, std::span<PackedMatrix> matrices) {
  if (weight.place == Place::kDevice) {
    std::size_t bytes = 0;
    for (const PackedMatrix& m : matrices) bytes = cpu::Slab::end_of_piece(bytes, m.bytes());
    passing_[weight.id] = cpu::Slab(bytes, {});
  }
  for (PackedMatrix& m : matrices) {
    if (!m || (here_ != cpu::kAllParts && here_ != m.part)) continue;
    m.data = (weight.place == Place::kDevice ? passing_[weight.id] : slabs_[m.part]).take(m.bytes());
  }
}

std::span<const PackedMatrix> WeightStore::parts(WeightId id) const {
  const auto found = matrices_.find(id);
  return found == matrices_.end() ? std::span<const PackedMatrix>() : found->second;
}

std::span<const float> WeightStore::vector(WeightId id) const {
  const auto found = vectors_.find(id);
  return found == vectors_.end() ? std::span<const float>() : found->second;
}

const RowTable* WeightStore::rows(WeightId id) const {
  const auto found = tables_.find(id);
  return found == tables_.end() ? nullptr : &found->second;
}

void WeightStore::drop(WeightId id) {
  passing_.erase(id);
  matrices_.erase(id);
  vectors_.erase(id);
  tables_.erase(id);
}

}  // namespace dodeca::runtime
