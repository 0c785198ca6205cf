// All placed weights of a model, found by role and layer. Filled once by the loader, read-only afterwards. Those that stay
// lie in slabs, one for each part and one for what all parts share; those that go on to a device have memory of their own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "cpu/memory.hpp"
#include "runtime/base/log.hpp"
#include "runtime/model/weight_role.hpp"
#include "runtime/plan/plan.hpp"
#include "runtime/weights/packed_matrix.hpp"

namespace dodeca::runtime {

// Rows in file form, of which single ones are looked up.
struct RowTable {
  quant::DType dtype = quant::DType::kF32;
  std::size_t row_bytes = 0;
  std::byte* data = nullptr;  // in a slab of the store
};

class WeightStore {
 public:
  // Room for a plan's weights, where its placement says. Throws as cpu::Slab; `log` hears of pools that gave too little.
  void reserve(const Plan& plan, const Log& log);
  // Memory for a weight's matrices, those of parts that are here, or rows. For one thread at a time.
  void place(const WeightPlan& weight, std::span<PackedMatrix> matrices);
  void place(RowTable& table, std::size_t bytes) { table.data = shared_.take(bytes); }
  // The slabs of the parts.
  std::span<const cpu::Slab> slabs() const { return slabs_; }

  // One matrix per piece of every part of the weight's block (WeightPlan), part after part; an empty one where a part has
  // nothing of it; none: the model has no such weight.
  std::span<const PackedMatrix> parts(WeightId id) const;
  // Of a norm or a bias; empty: the model has none.
  std::span<const float> vector(WeightId id) const;
  // Null: the weight is in tiles, or there is none.
  const RowTable* rows(WeightId id) const;

  void add(WeightId id, std::vector<PackedMatrix> parts) { matrices_[id] = std::move(parts); }
  void add(WeightId id, std::vector<float> values) { vectors_[id] = std::move(values); }
  void add(WeightId id, const RowTable& table) { tables_[id] = table; }

  void drop(WeightId id);

  // Something that uses the slabs' memory and must go before it does, such as what pins it.
  void lend(std::shared_ptr<const void> borrower) const { borrowers_.push_back(std::move(borrower)); }

 private:
  int here_ = cpu::kAllParts;
  std::vector<cpu::Slab> slabs_;
  cpu::Slab shared_;
  std::map<WeightId, cpu::Slab> passing_;  // of weights that go on to a device
  std::map<WeightId, std::vector<PackedMatrix>> matrices_;
  std::map<WeightId, std::vector<float>> vectors_;
  std::map<WeightId, RowTable> tables_;
  mutable std::vector<std::shared_ptr<const void>> borrowers_;
};

}  // namespace dodeca::runtime
