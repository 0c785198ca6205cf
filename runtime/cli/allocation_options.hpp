// The flags of `dodeca quantize` that ask for an allocation of types instead of naming them, and the way from them to
// a recipe, its table printed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cpu/team.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/quantize/quantize.hpp"

namespace dodeca::runtime::allocate {
struct AllocationRequest;  // choose_types.hpp
}

namespace dodeca::runtime::cli {

struct AllocationOptions {
  std::string target_size, fit_ram, vram, calibration, sensitivities, objective = "quality", types, save_recipe;
  double target_bpw = 0;
  std::int64_t chunks = 8, context = 8192;

  void add_flags(Options& options);
  bool asked() const { return !target_size.empty() || !fit_ram.empty() || target_bpw > 0; }
  void check(const Options& options) const;  // after parse; throws Usage

  // Chooses types for the source within the size and puts them into options.types.file. options.imatrix, overrides and
  // keep_mtp as for the plan that follows.
  void choose(const WeightSource& source, quantize::QuantizeOptions& options, cpu::Team& team, cpu::Isa isa,
              const Console& console) const;

 private:
  void set_sizes(allocate::AllocationRequest& request, const ModelConfig& config, int n_threads) const;
  // Those of the file are known if they are of this model and text; those that are measured are written to it.
  void use_sensitivities(allocate::AllocationRequest& request, const WeightSource& source,
                         const quantize::QuantizeOptions& options, const Console& console) const;
};

}  // namespace dodeca::runtime::cli
