#include "runtime/model/tensor_facts.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace dodeca::runtime {
namespace {

constexpr std::int64_t kMaxLayers = 1024;  // more are refused later

std::string_view name_of(GatingKind gating) {
  switch (gating) {
    case GatingKind::kSoftmax:
      return "softmax";
    case GatingKind::kSigmoid:
      return "sigmoid";
    case GatingKind::kSoftmaxSelected:
      return "softmax of the selected";
  }
  return "";
}

}  // namespace

std::string TensorFacts::name(std::int64_t layer, std::string_view tensor) const {
  return fmt::format("{}{}.{}", names_.layer, layer, tensor);
}

std::optional<MatrixSize> TensorFacts::size(std::int64_t layer, std::string_view tensor) const {
  return find_ ? find_(name(layer, tensor)) : std::nullopt;
}

std::int64_t TensorFacts::first_layer(std::string_view tensor, std::int64_t n_layers) const {
  for (std::int64_t layer = 0; layer < std::min(n_layers, kMaxLayers); ++layer)
    if (has(layer, tensor)) return layer;
  return -1;
}

std::int64_t TensorFacts::q_lora_rank(std::int64_t by_key) const {
  if (!find_) return by_key;
  const auto q_a = size(0, names_.q_a);
  const std::int64_t shown = q_a ? q_a->n_out : 0;
  if (by_key > 0 && by_key != shown)
    log_(Level::kInfo,
         q_a ? fmt::format("q_lora_rank {} is not what {} has, {}: the tensor decides", by_key, name(0, names_.q_a),
                           shown)
             : fmt::format("q_lora_rank {} has no meaning here: there is no {}", by_key, name(0, names_.q_a)));
  return shown;
}

void TensorFacts::set_expert_count(std::optional<std::int64_t> by_key, ModelConfig& c) const {
  c.n_routed_experts = by_key.value_or(0);
  const std::int64_t layer = first_layer(names_.router, c.n_layers);
  if (layer < 0) return;
  const std::int64_t shown = size(layer, names_.router)->n_out;
  const std::string tensor = name(layer, names_.router);
  if (!by_key)
    log_(Level::kInfo, fmt::format("{} is missing: {} experts, as {} has", names_.expert_count, shown, tensor));
  else if (*by_key != shown)
    throw Error(ErrorKind::kBadFile,
                fmt::format("{} is {} and {} chooses among {}", names_.expert_count, *by_key, tensor, shown));
  c.n_routed_experts = shown;
}

void TensorFacts::set_shared_count(std::optional<std::int64_t> by_key, ModelConfig& c) const {
  c.n_shared_experts = by_key.value_or(0);
  const std::int64_t layer = first_layer(names_.shared_gate, c.n_layers);
  if (layer < 0) {
    if (c.n_shared_experts > 0 && first_layer(names_.router, c.n_layers) >= 0)
      throw Error(ErrorKind::kBadFile, fmt::format("{} is {} and no layer has a {}", names_.shared_count,
                                                   c.n_shared_experts, names_.shared_gate));
    return;
  }
  const std::int64_t width = size(layer, names_.shared_gate)->n_out, each = c.moe_intermediate_size;
  const std::string tensor = name(layer, names_.shared_gate);
  if (each < 1 || width % each != 0 || (by_key && *by_key * each != width))
    throw Error(ErrorKind::kBadFile,
                by_key ? fmt::format("{} is {} with experts of width {}, and {} has a width of {}", names_.shared_count,
                                     *by_key, each, tensor, width)
                       : fmt::format("{} has a width of {}, no multiple of the experts' {}", tensor, width, each));
  if (!by_key)
    log_(Level::kInfo, fmt::format("{} is missing: {}, as {} shows", names_.shared_count, width / each, tensor));
  c.n_shared_experts = width / each;
}

void TensorFacts::set_layers(const std::function<bool(std::int64_t layer)>& has_experts, ModelConfig& c) const {
  std::int64_t n_shown_dense = 0;
  for (std::int64_t layer = 0; layer < std::min(c.n_layers, kMaxLayers); ++layer) {
    const bool experts = has(layer, names_.router), dense = has(layer, names_.dense_gate);
    const bool shown = experts != dense;
    const bool by_key = c.n_routed_experts > 0 && (!has_experts || has_experts(layer));
    if (shown && has_experts && experts != by_key)
      throw Error(ErrorKind::kBadFile, fmt::format("{} says that layer {} {}, and the file has {}", names_.dense_count,
                                                   layer, by_key ? "has experts" : "is dense",
                                                   name(layer, experts ? names_.router : names_.dense_gate)));
    const bool moe = shown ? experts : by_key;
    if (!moe && c.n_routed_experts > 0) ++n_shown_dense;
    c.layers.push_back({AttentionKind::kMla, moe ? FfnKind::kMoe : FfnKind::kDense});
  }
  if (!has_experts && n_shown_dense > 0)
    log_(Level::kInfo,
         fmt::format("{} is missing: {} layers are dense, as their tensors show", names_.dense_count, n_shown_dense));
}

GatingKind TensorFacts::gating(std::optional<GatingKind> by_key, GatingKind otherwise, std::string_view key,
                               const ModelConfig& c) const {
  const std::int64_t layer = first_layer(names_.selection_bias, c.n_layers);
  if (!find_) return by_key.value_or(otherwise);
  const std::string bias = layer >= 0 ? name(layer, names_.selection_bias) : std::string(names_.selection_bias);
  if (!by_key) {
    const GatingKind taken = layer >= 0 ? GatingKind::kSigmoid : otherwise;
    if (taken != otherwise)
      log_(Level::kInfo, fmt::format("{} is missing: sigmoid, as {} goes with no other", key, bias));
    return taken;
  }
  if (layer >= 0 && *by_key != GatingKind::kSigmoid)
    log_(Level::kWarning, fmt::format("{} is {} although there is {}, which goes with sigmoid in every published model",
                                      key, name_of(*by_key), bias));
  if (layer < 0 && *by_key == GatingKind::kSigmoid)
    log_(Level::kWarning,
         fmt::format("{} is sigmoid and no layer has a selection bias ({}), unlike every published model", key, bias));
  return *by_key;
}

}  // namespace dodeca::runtime
