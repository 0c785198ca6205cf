#include "runtime/quantize/recipe.hpp"

#include <algorithm>
#include <cctype>

namespace dodeca::runtime::quantize {
namespace {

using quant::DType;

using enum WeightRole;

bool is_output(const WeightName& w) { return w.id.role == kOutput || w.id.role == kMtpOutput || w.tied_output; }
bool is_embedding(const WeightName& w) { return w.id.role == kEmbedding || w.id.role == kMtpEmbedding; }
bool is_down(const WeightName& w) { return w.id.role == kDown || w.id.role == kSharedDown || w.id.role == kExpertDown; }
bool is_attention_output(const WeightName& w) { return w.id.role == kAttentionOutput; }
bool is_value(const WeightName& w) { return w.id.role == kV; }
bool makes_cache(const WeightName& w) {
  return w.id.role == kKvA || w.id.role == kKB || w.id.role == kVB || w.id.role == kK || w.id.role == kV ||
         w.id.role == kIndexK;
}

// The mixture of the published DeepSeek-V3-0324 UD-Q2_K_XL file: what every token reads keeps 4 to 6 bits, the routed
// experts go to 2 and 3.
DType ud_q2_k_xl(const WeightName& w) {
  if (is_output(w)) return DType::kQ6_K;
  if (is_embedding(w)) return DType::kQ4_K;
  if (is_routed(w.id.role)) return is_down(w) ? DType::kQ3_K : DType::kQ2_K;
  if (is_down(w)) return DType::kQ6_K;
  // kv_a and both halves of kv_b, keys and values: small, and every layer's cache comes from them.
  if (makes_cache(w)) return DType::kQ6_K;
  return DType::kQ4_K;
}

// llama.cpp's mixtures, as they apply to the architectures that run here, latent attention with the MLA-split layout.
bool more_bits(const WeightName& w) {
  const std::int64_t eighth = w.n_layers / 8;
  return w.id.layer < eighth || w.id.layer >= 7 * w.n_layers / 8 || (w.id.layer - eighth) % 3 == 2;
}
// What all mixtures of K types have in common: the head, and of models with eight experts the attention.
std::optional<DType> k_mixture(const WeightName& w) {
  if (is_output(w)) return DType::kQ6_K;
  if (w.n_experts != 8) return {};
  if (w.id.role == kK || w.id.role == kV) return DType::kQ8_0;
  return is_attention_output(w) ? std::optional(DType::kQ5_K) : std::nullopt;
}
DType q3_k_s(const WeightName& w) { return k_mixture(w).value_or(DType::kQ3_K); }
DType q3_k_m(const WeightName& w) {
  if (const auto common = k_mixture(w)) return *common;
  if (is_value(w)) return w.id.layer < 2 ? DType::kQ5_K : DType::kQ4_K;
  if (is_down(w)) return w.id.layer < w.n_layers / 16 ? DType::kQ5_K : DType::kQ4_K;
  return is_attention_output(w) ? DType::kQ4_K : DType::kQ3_K;
}
DType q3_k_l(const WeightName& w) {
  if (const auto common = k_mixture(w)) return *common;
  return is_value(w) || is_down(w) || is_attention_output(w) ? DType::kQ5_K : DType::kQ3_K;
}
DType q4_k_s(const WeightName& w) {
  if (const auto common = k_mixture(w)) return *common;
  if (is_value(w) && w.id.layer < 4) return DType::kQ5_K;
  return is_down(w) && w.id.layer < w.n_layers / 8 ? DType::kQ5_K : DType::kQ4_K;
}
DType q4_k_m(const WeightName& w) {
  if (const auto common = k_mixture(w)) return *common;
  return (is_value(w) || is_down(w)) && more_bits(w) ? DType::kQ6_K : DType::kQ4_K;
}
DType q5_k_s(const WeightName& w) { return k_mixture(w).value_or(DType::kQ5_K); }
DType q5_k_m(const WeightName& w) {
  if (const auto common = k_mixture(w)) return *common;
  return (is_value(w) || is_down(w)) && more_bits(w) ? DType::kQ6_K : DType::kQ5_K;
}

// Nothing is rounded: packed 4-bit experts stay as they are. FP8 has no form in GGUF.
DType copy(const WeightName& w) { return w.source < DType::kInternal ? w.source : DType::kBF16; }

constexpr Recipe kRecipes[] = {
    {"copy", {}, "every matrix in the type that it has; BF16 for FP8", copy},
    {"ud-q2_k_xl", 10, "experts Q2_K and Q3_K, the rest Q4_K and Q6_K", ud_q2_k_xl},
    {"Q3_K_S", 11, "llama.cpp's mixture", q3_k_s},
    {"Q3_K_M", 12, "llama.cpp's mixture", q3_k_m},
    {"Q3_K_L", 13, "llama.cpp's mixture", q3_k_l},
    {"Q4_K_S", 14, "llama.cpp's mixture", q4_k_s},
    {"Q4_K_M", 15, "llama.cpp's mixture", q4_k_m},
    {"Q5_K_S", 16, "llama.cpp's mixture", q5_k_s},
    {"Q5_K_M", 17, "llama.cpp's mixture", q5_k_m},
};

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

const Recipe* find_recipe(std::string_view name) {
  const auto* it =
      std::find_if(std::begin(kRecipes), std::end(kRecipes), [&](const Recipe& r) { return same_word(r.name, name); });
  return it == std::end(kRecipes) ? nullptr : it;
}

std::vector<const Recipe*> all_recipes() {
  std::vector<const Recipe*> recipes;
  for (const Recipe& recipe : kRecipes) recipes.push_back(&recipe);
  return recipes;
}

DType fitting_type(DType dtype, std::int64_t n_in) {
  while (!quant::row_bytes(dtype, n_in)) dtype = quant::type_info(dtype).fall_back;
  return dtype;
}

// What chooses, among experts or positions, keeps its digits: it is small.
bool is_quantizable(WeightRole role, std::int64_t rank) {
  return rank >= 2 && role != kRouter && role != kIndexWeights && !role_info(role).vector;
}

std::optional<DType> TypeChoice::overriding(const WeightName& weight) const {
  const auto rule =
      std::ranges::find_if(overrides, [&](const TypeOverride& r) { return r.regex.found_in(weight.name); });
  if (rule != overrides.end()) return rule->dtype;
  if (token_embedding && weight.id.role == kEmbedding) return token_embedding;
  if (output && (weight.id.role == kOutput || weight.tied_output)) return output;
  return {};
}

DType choose_type(const TypeChoice& choice, const WeightName& weight, std::int64_t rank) {
  if (!is_quantizable(weight.id.role, rank)) return DType::kF32;
  if (const auto dtype = choice.overriding(weight)) return *dtype;
  if (choice.recipe != nullptr) return choice.recipe->type_of(weight);
  return choice.file ? choice.file->type_of(weight.name) : *choice.uniform;
}

DType kept_type(const TypeChoice& choice, const WeightName& weight, DType dtype) {
  const auto bits = [](DType type) {
    const quant::TypeInfo& info = quant::type_info(type);
    return static_cast<double>(info.block_bytes) / static_cast<double>(info.block_elements);
  };
  const bool coded = quant::type_info(dtype).block_elements > 1 && bits(dtype) >= bits(DType::kMXFP4);
  return weight.source == DType::kMXFP4 && coded && !choice.overriding(weight) ? DType::kMXFP4 : dtype;
}

}  // namespace dodeca::runtime::quantize
