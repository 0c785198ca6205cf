// From a model and a size to the type of every tensor: errors of rounding (weight_errors.hpp) times sensitivities
// (sensitivity.hpp) are the expected divergences that allocation.hpp makes least.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cpu/team.hpp"
#include "runtime/allocate/divergence_meter.hpp"
#include "runtime/allocate/sensitivity.hpp"
#include "runtime/base/log.hpp"
#include "runtime/quantize/quantize.hpp"

namespace dodeca::runtime::allocate {

// What every rounding is chosen from where its blocks divide the rows.
std::vector<quant::DType> allocatable_types();

struct AllocationRequest {
  std::uint64_t max_file_bytes = 0;  // or
  double max_bits_per_weight = 0;    // of the tensor data, if not 0
  std::uint64_t card_bytes = 0;      // beyond max_file_bytes, for what every token reads: all but routed experts
  double speed_weight = 0;           // allocation.hpp
  std::vector<quant::DType> types = allocatable_types();
  Sensitivities known;                                    // measured before
  std::optional<MeterOptions> calibration;                // the sensitivities that are not known are measured on it
  std::function<void(const Sensitivities&)> on_measured;  // gets all that are known whenever some more are
  cpu::Isa isa = cpu::host_isa();
};

struct AllocatedTensor {
  const quantize::OutputTensor* tensor;  // of the plan
  quant::DType dtype;
  std::uint64_t bytes;
  double divergence;   // expected of this tensor alone:
  double sensitivity;  // times the relative squared error of its outputs
};

struct TypeAllocation {
  quantize::FileRecipe recipe;  // of the allocated tensors; the plan's own types for all else
  std::vector<AllocatedTensor> tensors;
  std::uint64_t file_bytes = 0;
  double divergence = 0, bound = 0;  // expected; and what no choice of these types could go below (0: unknown)
  std::optional<double> measured;    // with calibration: of the whole allocation, on its text
};

// plan: made with one uniform type for all that is not to be allocated (overrides, MTP layers, vectors). Sensitivities
// that are neither known nor measured are estimated when none is known, else Error{kBadRequest}. stage(name) gives the
// progress of a stage that begins. Throws Error{kDoesNotFit} with the least possible size, Stopped.
TypeAllocation choose_types(const WeightSource& source, const quantize::QuantizePlan& plan,
                            const quantize::TypeChoice& given, const AllocationRequest& request, cpu::Team& team,
                            const std::function<Progress(std::string_view name)>& stage);

}  // namespace dodeca::runtime::allocate
