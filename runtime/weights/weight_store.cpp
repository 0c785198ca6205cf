#include "runtime/weights/weight_store.hpp"

namespace dodeca::runtime {

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
  matrices_.erase(id);
  vectors_.erase(id);
  tables_.erase(id);
}

}  // namespace dodeca::runtime
