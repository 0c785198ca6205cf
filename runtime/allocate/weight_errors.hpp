// What rounding a tensor to a type does to its outputs: the error of W x relative to W x, both squared and summed over
// the inputs that an importance matrix describes,
//   sum_ij m_j (w_ij - w'_ij)^2 / sum_ij m_j w_ij^2,
// m_j the mean square of input j. Experts count by how often they were chosen, all alike where none was. Large tensors
// are sampled by rows.
#pragma once

#include <span>
#include <vector>

#include "cpu/isa.hpp"
#include "cpu/team.hpp"
#include "runtime/base/log.hpp"
#include "runtime/load/imatrix.hpp"
#include "runtime/model/weight_source.hpp"

namespace dodeca::runtime::allocate {

struct ErrorQuestion {
  const WeightInfo* weight;
  const ImportanceMatrix::Entry* importance;  // or null
  std::vector<quant::DType> dtypes;           // whose blocks divide the rows
};

// [questions][dtypes]. The same for every team and ISA level. progress counts slices of weights. Throws Stopped, and
// Error{kBadFile} for NaN or infinity in a weight.
std::vector<std::vector<double>> weight_errors(const WeightSource& source, std::span<const ErrorQuestion> questions,
                                               cpu::Team& team, cpu::Isa isa, const Progress& progress);

}  // namespace dodeca::runtime::allocate
