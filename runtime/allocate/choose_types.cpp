#include "runtime/allocate/choose_types.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "runtime/allocate/allocation.hpp"
#include "runtime/allocate/sensitivity.hpp"
#include "runtime/allocate/weight_errors.hpp"
#include "runtime/base/error.hpp"
#include "runtime/load/gguf_layout.hpp"
#include "runtime/model/weight_name.hpp"

namespace dodeca::runtime::allocate {
namespace {

using quant::DType;
using quantize::OutputTensor;
using quantize::TypeChoice;

std::uint64_t padded(std::uint64_t bytes, std::uint64_t alignment) { return bytes + padding_of(bytes, alignment); }

bool is_allocated(const OutputTensor& tensor, const ModelConfig& config, const TypeChoice& given, bool tied) {
  if (tensor.weight == nullptr || !quantize::is_quantizable(tensor.weight->id.role, tensor.weight->source_rank))
    return false;
  const WeightId id = tensor.weight->id;
  return id.layer < config.n_layers &&
         !given.overriding({tensor.name, id, config.n_layers, tied && id.role == WeightRole::kEmbedding});
}

// Tensors to allocate, each with the types that its rows take.
struct Candidates {
  std::vector<const OutputTensor*> tensors;
  std::vector<std::vector<DType>> dtypes;
};

Candidates candidates_of(const WeightSource& source, const quantize::QuantizePlan& plan, const TypeChoice& given,
                         const std::vector<DType>& types, bool tied) {
  Candidates result;
  for (const OutputTensor& tensor : plan.tensors) {
    if (!is_allocated(tensor, source.config(), given, tied)) continue;
    std::vector<DType> fitting;
    for (const DType dtype : types) {
      if (quant::row_bytes(dtype, tensor.n_in())) fitting.push_back(dtype);
    }
    if (fitting.empty()) {
      for (const DType dtype : types) fitting.push_back(quantize::fitting_type(dtype, tensor.n_in()));
      std::ranges::sort(fitting);
      fitting.erase(std::ranges::unique(fitting).begin(), fitting.end());
    }
    result.tensors.push_back(&tensor);
    result.dtypes.push_back(std::move(fitting));
  }
  return result;
}

// The candidate nearest in size to what a probe wants.
std::size_t probe_option(const OutputTensor& tensor, const std::vector<DType>& dtypes) {
  const auto bits = [](DType d) {
    const quant::TypeInfo& type = quant::type_info(d);
    return 8 * static_cast<double>(type.block_bytes) / static_cast<double>(type.block_elements);
  };
  const double wanted = bits(probe_type(tensor.name));
  const auto nearest = std::ranges::min_element(
      dtypes, {}, [&](DType d) { return std::pair(std::fabs(bits(d) - wanted), d != probe_type(tensor.name)); });
  return static_cast<std::size_t>(nearest - dtypes.begin());
}

// Those of the candidates, the ones that are not known measured: their groups are rounded one after the other,
// everything else being as in the source.
Sensitivities measured_sensitivities(const DivergenceMeter& meter, const Candidates& candidates,
                                     const std::vector<std::vector<double>>& errors, std::int64_t n_layers,
                                     const AllocationRequest& request, const Progress& progress) {
  std::vector<std::string> names;
  for (const OutputTensor* tensor : candidates.tensors) names.push_back(tensor->name);
  Sensitivities result = request.known;
  std::vector<SensitivityGroup> groups = sensitivity_groups(names, n_layers);
  std::erase_if(groups, [&](const SensitivityGroup& group) {
    return std::ranges::all_of(group.tensors, [&](std::size_t t) { return result.contains(names[t]); });
  });
  for (std::size_t g = 0; g < groups.size(); ++g) {
    Roundings roundings;
    double error = 0;
    for (const std::size_t t : groups[g].tensors) {
      const std::size_t option = probe_option(*candidates.tensors[t], candidates.dtypes[t]);
      roundings[names[t]] = {candidates.dtypes[t][option], candidates.tensors[t]->importance};
      error += errors[t][option];
    }
    const double kld = std::max(0.0, meter.mean_kld(roundings));
    for (const std::size_t t : groups[g].tensors) result[names[t]] = error > 0 ? kld / error : 0;
    if (request.on_measured) request.on_measured(result);
    if (progress && !progress(static_cast<double>(g + 1), static_cast<double>(groups.size()))) throw Stopped{};
  }
  return result;
}

// Without a text to measure on: those that are known, or else estimates of all.
Sensitivities known_or_estimated(const Candidates& candidates, std::int64_t n_layers, bool tied,
                                 const Sensitivities& known) {
  Sensitivities result = known;
  for (const OutputTensor* tensor : candidates.tensors) {
    if (result.contains(tensor->name)) continue;
    if (!known.empty())
      throw Error(ErrorKind::kBadRequest, fmt::format("the sensitivity of {} is not known", tensor->name))
          .with(Remedy::kMeasure);
    const bool is_head = tied && tensor->weight->id.role == WeightRole::kEmbedding;
    result[tensor->name] = estimated_sensitivity(is_head ? gguf_name({WeightRole::kOutput}) : tensor->name, n_layers);
  }
  return result;
}

// Of `bytes` of a tensor, those that are read for one generated token.
double token_bytes(const ModelConfig& config, WeightRole role, bool tied, std::uint64_t bytes) {
  const auto all = static_cast<double>(bytes);
  if (is_routed(role) && config.n_routed_experts > 0)
    return all * static_cast<double>(config.n_experts_per_tok) / static_cast<double>(config.n_routed_experts);
  if (role == WeightRole::kEmbedding && !tied)  // one row is looked up
    return all / static_cast<double>(std::max<std::int64_t>(1, config.vocab_size));
  return all;
}

// What lies on the card is no more than what the allocation puts there, which is known afterwards only.
Allocation allocate_with_card(const std::vector<TensorOptions>& options, std::uint64_t max_bytes,
                              const AllocationRequest& request) {
  constexpr int kRounds = 8;
  std::uint64_t on_card = request.card_bytes;
  Allocation allocation = best_allocation(options, max_bytes + on_card, request.speed_weight);
  for (int round = 0; round < kRounds && on_card > 0; ++round) {
    std::uint64_t every_token = 0;
    for (std::size_t t = 0; t < options.size(); ++t) {
      if (!options[t].routed) every_token += options[t].options[allocation.chosen[t]].bytes;
    }
    if (every_token >= on_card) break;
    on_card = every_token;
    allocation = best_allocation(options, max_bytes + on_card, request.speed_weight);
  }
  return allocation;
}

}  // namespace

std::vector<DType> allocatable_types() {
  std::vector<DType> types;
  for (const DType dtype : quantize::writable_types()) {
    if (quant::type_info(dtype).block_elements > 1 && !quant::is_ik_type(dtype)) types.push_back(dtype);
  }
  return types;
}

TypeAllocation choose_types(const WeightSource& source, const quantize::QuantizePlan& plan, const TypeChoice& given,
                            const AllocationRequest& request, cpu::Team& team,
                            const std::function<Progress(std::string_view name)>& stage) {
  const ModelConfig& config = source.config();
  const bool tied = source.find({WeightRole::kOutput}) == nullptr;
  const Candidates candidates = candidates_of(source, plan, given, request.types, tied);
  if (candidates.tensors.empty())
    throw Error(ErrorKind::kBadRequest, "every tensor's type is given already: there is nothing to choose");

  std::vector<ErrorQuestion> questions;
  for (std::size_t t = 0; t < candidates.tensors.size(); ++t)
    questions.push_back({candidates.tensors[t]->weight, candidates.tensors[t]->importance, candidates.dtypes[t]});
  const std::vector<std::vector<double>> errors = weight_errors(source, questions, team, request.isa, stage("errors"));

  std::optional<DivergenceMeter> meter;
  if (request.calibration) meter.emplace(source, team, *request.calibration);
  const Sensitivities sensitivities =
      meter ? measured_sensitivities(*meter, candidates, errors, config.n_layers, request, stage("sensitivities"))
            : known_or_estimated(candidates, config.n_layers, tied, request.known);

  const std::uint64_t alignment = data_alignment(plan.metadata);
  std::vector<TensorOptions> options;
  std::uint64_t candidate_bytes = 0;  // as the plan has them
  for (std::size_t t = 0; t < candidates.tensors.size(); ++t) {
    const OutputTensor& tensor = *candidates.tensors[t];
    const double sensitivity = sensitivities.find(tensor.name)->second;
    candidate_bytes += padded(tensor.bytes(), alignment);
    options.push_back({tensor.name, is_routed(tensor.weight->id.role), {}});
    for (std::size_t o = 0; o < candidates.dtypes[t].size(); ++o) {
      const std::uint64_t bytes = padded(tensor.bytes(candidates.dtypes[t][o]), alignment);
      options.back().options.push_back({candidates.dtypes[t][o], bytes, sensitivity * errors[t][o],
                                        token_bytes(config, tensor.weight->id.role, tied, bytes)});
    }
  }
  // What is not allocated: the header, vectors, tensors whose type is given.
  const std::uint64_t plan_bytes = quantize::output_files(plan, "").front().bytes, rest = plan_bytes - candidate_bytes;
  std::uint64_t max_bytes = request.max_file_bytes;
  if (request.max_bits_per_weight > 0) {
    max_bytes = plan_bytes - plan.tensor_bytes() +
                static_cast<std::uint64_t>(request.max_bits_per_weight * static_cast<double>(plan.n_weights()) / 8);
  }
  if (max_bytes <= rest)
    throw Error(ErrorKind::kDoesNotFit,
                fmt::format("{} bytes are allowed, and what no type can change takes {}", max_bytes, rest));
  const Allocation allocation = allocate_with_card(options, max_bytes - rest, request);

  TypeAllocation result;
  result.file_bytes = allocation.bytes + rest;
  result.recipe.name = fmt::format("{} in {} bytes", config.name, result.file_bytes);
  result.recipe.default_type = *given.uniform;
  Roundings roundings;
  for (std::size_t t = 0; t < options.size(); ++t) {
    const TypeOption& option = options[t].options[allocation.chosen[t]];
    result.tensors.push_back({candidates.tensors[t], option.dtype, option.bytes, option.divergence,
                              sensitivities.find(options[t].name)->second});
    result.recipe.tensors[options[t].name] = option.dtype;
    roundings[options[t].name] = {option.dtype, candidates.tensors[t]->importance};
  }
  result.divergence = allocation.divergence;
  result.bound = allocation.bound;
  if (meter) result.measured = meter->mean_kld(roundings);
  return result;
}

}  // namespace dodeca::runtime::allocate
