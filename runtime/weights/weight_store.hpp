// All placed weights of a model, found by role and layer. Filled once by the loader, read-only afterwards.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "runtime/model/weight_role.hpp"
#include "runtime/weights/packed_matrix.hpp"

namespace dodeca::runtime {

// Rows in file form, of which single ones are looked up.
struct RowTable {
  quant::DType dtype = quant::DType::kF32;
  std::size_t row_bytes = 0;
  cpu::Buffer data;
};

class WeightStore {
 public:
  // One matrix per piece of every part of the weight's block (WeightPlan), part after part; an empty one where a part has
  // nothing of it; none: the model has no such weight.
  std::span<const PackedMatrix> parts(WeightId id) const;
  // Of a norm or a bias; empty: the model has none.
  std::span<const float> vector(WeightId id) const;
  // Null: the weight is in tiles, or there is none.
  const RowTable* rows(WeightId id) const;

  void add(WeightId id, std::vector<PackedMatrix> parts) { matrices_[id] = std::move(parts); }
  void add(WeightId id, std::vector<float> values) { vectors_[id] = std::move(values); }
  void add(WeightId id, RowTable table) { tables_[id] = std::move(table); }

  void drop(WeightId id);

 private:
  std::map<WeightId, std::vector<PackedMatrix>> matrices_;
  std::map<WeightId, std::vector<float>> vectors_;
  std::map<WeightId, RowTable> tables_;
};

}  // namespace dodeca::runtime
