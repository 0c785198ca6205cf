// Reading and repacking weights in parallel: rows come from the source in their file form and go straight into tiles.
#pragma once

#include <cstdint>

#include "cpu/team.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/base/log.hpp"
#include "runtime/model/weight_source.hpp"
#include "runtime/plan/plan.hpp"
#include "runtime/weights/weights.hpp"

namespace dodeca::runtime {

class Loader {
 public:
  Loader(const WeightSource& source, const Plan& plan, cpu::Team& team, Progress progress);

  // Rows [rows.begin, rows.end) and columns [columns.begin, columns.end) of the named slices (all when empty).
  // Absent weights give an empty matrix. Throws Error{kBadFile} for NaN or infinity, naming tensor, slice and row.
  PackedMatrix matrix(const std::string& name, const std::vector<std::int64_t>& slices, Span rows, Span columns);
  PackedMatrix matrix(const std::string& name);
  std::vector<float> vector(const std::string& name);    // empty when absent
  void rows(const std::string& name, cpu::Buffer& out);  // in file form
  const WeightInfo* find(const std::string& name) const { return source_.find(name); }
  const PlacedSum& contents() const { return contents_; }  // of what was read so far (runtime/model/contents.hpp)

 private:
  void report(std::uint64_t bytes);
  const WeightPlan& plan_of(const WeightInfo& info) const;

  const WeightSource& source_;
  const Plan& plan_;
  cpu::Team& team_;
  Progress progress_;
  double done_ = 0.0, total_ = 0.0;
  PlacedSum contents_;
};

}  // namespace dodeca::runtime
