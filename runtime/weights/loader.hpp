// Reading and repacking weights in parallel: rows come from the source in their file form and go straight into tiles,
// each row read once whatever the parts. Rows that one part alone has are read by its own members first.
#pragma once

#include <cstdint>

#include "cpu/team.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/base/log.hpp"
#include "runtime/model/weight_source.hpp"
#include "runtime/plan/plan.hpp"
#include "runtime/weights/weight_store.hpp"

namespace dodeca::runtime {

class Loader {
 public:
  Loader(const WeightSource& source, const Plan& plan, cpu::Team& team, Progress progress);

  // Puts a weight into the store as it was planned. Throws Error{kBadFile} for NaN or infinity, naming tensor, slice
  // and row.
  void load(const WeightPlan& weight, WeightStore& store);
  // Of what was read so far (runtime/model/contents.hpp). Where one part is here, other processes have the rest of the sum.
  const PlacedSum& contents() const { return contents_; }

 private:
  std::vector<PackedMatrix> read_parts(const WeightPlan& weight, const WeightInfo& info, WeightStore& store);
  std::vector<float> read_vector(const WeightInfo& info);
  RowTable read_rows(const WeightPlan& weight, const WeightInfo& info, WeightStore& store);
  // f(slice, row_begin, row_end, rows of the file) for every unit of the weight that is wanted here, each once, by any
  // member.
  template <class F>
  void for_each_unit(const WeightPlan& weight, const WeightInfo& info, std::int64_t row_grain, F&& f);
  void report(std::uint64_t bytes);

  const WeightSource& source_;
  const int n_parts_, here_;
  cpu::Team& team_;
  Progress progress_;
  double done_ = 0.0, total_ = 0.0;
  PlacedSum contents_;
};

}  // namespace dodeca::runtime
