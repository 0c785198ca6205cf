// How far a model moves when some of its weights are rounded to other types: the mean Kullback-Leibler divergence of its
// predictions on a text from those of the source's own weights. The rounded weights are encoded and decoded while the
// model is loaded; nothing is written.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cpu/isa.hpp"
#include "cpu/team.hpp"
#include "runtime/base/log.hpp"
#include "runtime/load/imatrix.hpp"
#include "runtime/model/weight_source.hpp"

namespace dodeca::runtime::allocate {

struct Rounding {
  quant::DType dtype;
  const ImportanceMatrix::Entry* importance = nullptr;
};
using Roundings = std::map<std::string, Rounding, std::less<>>;  // by weight name

struct MeterOptions {
  std::vector<std::int32_t> tokens;  // n_windows * n_ctx
  std::int64_t n_ctx = 512, n_windows = 0;
  cpu::Isa isa = cpu::host_isa();
};

class DivergenceMeter {
 public:
  // Runs the source's own weights over the windows. Loads the whole model into memory, here and in mean_kld(): throws
  // Error{kDoesNotFit} when there is too little.
  DivergenceMeter(const WeightSource& source, cpu::Team& team, MeterOptions options);
  ~DivergenceMeter();
  double mean_kld(const Roundings& roundings) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dodeca::runtime::allocate
