#include "runtime/allocate/sensitivity.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <utility>

#include "runtime/model/weight_name.hpp"
#include "runtime/model/weight_role.hpp"

namespace dodeca::runtime::allocate {
namespace {

// Kinds whose errors meet in the same place. The sensitivities are the demo model's, measured on its calibration text by
// `dodeca quantize -v --target-size 10139360 --calibration`; attn_k and attn_v, which it lacks, are guessed.
struct Kind {
  std::string_view name, group;
  double sensitivity;  // of one tensor, times the number of layers
};
constexpr Kind kKinds[] = {
    {"token_embd", "token_embd", 0.22},
    {"output", "output", 0.83},
    {"attn_q", "attn_q", 0.26},
    {"attn_q_a", "attn_q", 0.13},
    {"attn_q_b", "attn_q", 0.13},
    {"attn_kv_a_mqa", "attn_kv_a_mqa", 0.58},
    {"attn_k", "attn_k", 0.3},
    {"attn_v", "attn_v", 0.4},
    {"attn_k_b", "attn_k_b", 0.084},
    {"attn_v_b", "attn_v_b", 0.39},
    {"attn_output", "attn_output", 0.72},
    {"ffn_gate", "ffn_gate/up", 0.51},
    {"ffn_up", "ffn_gate/up", 0.51},
    {"ffn_down", "ffn_down", 1.36},
    {"ffn_gate_exps", "ffn_gate/up_exps", 0.25},
    {"ffn_up_exps", "ffn_gate/up_exps", 0.25},
    {"ffn_down_exps", "ffn_down_exps", 0.35},
    {"ffn_gate_shexp", "ffn_gate/up_shexp", 0.086},
    {"ffn_up_shexp", "ffn_gate/up_shexp", 0.086},
    {"ffn_down_shexp", "ffn_down_shexp", 0.097},
};
constexpr double kUnknownKind = 0.5;

const Kind* find_kind(std::string_view kind) {
  const auto* found = std::ranges::find(kKinds, kind, &Kind::name);
  return found == std::end(kKinds) ? nullptr : found;
}

}  // namespace

std::vector<SensitivityGroup> sensitivity_groups(std::span<const std::string> names, std::int64_t n_layers) {
  const std::int64_t n_bands = std::min(kMaxBands, std::max<std::int64_t>(1, n_layers));
  struct Members {
    std::vector<std::size_t> tensors;
    std::int64_t first = 0, last = 0;
  };
  std::map<std::pair<std::int64_t, std::string_view>, Members> groups;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string_view name = kind_of(names[i]);
    const std::int64_t layer = layer_of(names[i]);
    const Kind* kind = find_kind(name);
    const std::int64_t band = layer < 0 ? -1 : std::min(layer, n_layers - 1) * n_bands / n_layers;
    const auto [group, inserted] = groups.try_emplace({band, kind != nullptr ? kind->group : name});
    Members& members = group->second;
    if (inserted) members.first = layer;
    members.last = layer;
    members.tensors.push_back(i);
  }
  std::vector<SensitivityGroup> result;
  for (auto& [key, members] : groups) {
    std::string name(key.second);
    if (key.first >= 0 && members.first == members.last)
      name += fmt::format(", layer {}", members.first);
    else if (key.first >= 0)
      name += fmt::format(", layers {} to {}", members.first, members.last);
    result.push_back({std::move(name), std::move(members.tensors)});
  }
  return result;
}

double estimated_sensitivity(std::string_view name, std::int64_t n_layers) {
  const Kind* kind = find_kind(kind_of(name));
  const double whole = kind != nullptr ? kind->sensitivity : kUnknownKind;
  return layer_of(name) < 0 ? whole : whole / static_cast<double>(std::max<std::int64_t>(1, n_layers));
}

quant::DType probe_type(std::string_view name) {
  return guess_group(name) == WeightGroup::kRoutedExperts ? quant::DType::kQ2_K : quant::DType::kQ3_K;
}

}  // namespace dodeca::runtime::allocate
