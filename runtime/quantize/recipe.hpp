// Which type each weight gets: by its name (what it does in the model) and its row length. Pure functions of those.
//
// Never quantized, always F32: vectors (norms, biases) and the router (ffn_gate_inp). All else follows, in this order,
// --tensor-type overrides, the types given for embeddings and output, and the recipe; a type whose block does not
// divide the row is replaced by its fall-back (llama.cpp's table).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "quant/dtype.hpp"
#include "runtime/model/weight_role.hpp"
#include "runtime/quantize/file_type.hpp"
#include "runtime/quantize/recipe_file.hpp"
#include "runtime/quantize/type_override.hpp"

namespace dodeca::runtime::quantize {

// What a recipe may ask about a weight.
struct WeightName {
  std::string_view name;  // GGUF name, for patterns
  WeightId id;            // of a joined attn_kv_b: that of attn_v_b
  std::int64_t n_layers = 0;
  bool tied_output = false;                   // an embedding that is also the output matrix
  quant::DType source = quant::DType::kBF16;  // what it is made from
  std::int64_t n_experts = 0;
};

struct Recipe {
  std::string_view name;  // "ud-q2_k_xl", "Q4_K_M"; a uniform type's own name
  // general.file_type: llama.cpp's number for the nearest of its mixtures; nothing: of the type of most weights
  std::optional<std::uint32_t> file_type;
  std::string_view summary;  // for help
  quant::DType (*type_of)(const WeightName& weight);
};

// The named mixtures, case-insensitive; null when there is none.
const Recipe* find_recipe(std::string_view name);
std::vector<const Recipe*> all_recipes();

// The first of dtype and its fall-backs whose block divides n_in.
quant::DType fitting_type(quant::DType dtype, std::int64_t n_in);

struct TypeChoice {
  const Recipe* recipe = nullptr;       // or
  std::optional<FileRecipe> file;       // or
  std::optional<quant::DType> uniform;  // one type for all matrices
  std::optional<quant::DType> output, token_embedding;
  std::vector<TypeOverride> overrides;  // the first that matches decides

  // The type that overrides alone give.
  std::optional<quant::DType> overriding(const WeightName& weight) const;
};

// rank: dimensions in the file. The type before fall-backs; F32 for what is never quantized.
quant::DType choose_type(const TypeChoice& choice, const WeightName& weight, std::int64_t rank);
// The type after fall-backs and what `dtype` leaves of a weight that is MXFP4 already and that no override names: other
// codes of as many bits or more would only add errors of rounding, so it stays MXFP4.
quant::DType kept_type(const TypeChoice& choice, const WeightName& weight, quant::DType dtype);
// True when choose_type() may say anything but F32.
bool is_quantizable(WeightRole role, std::int64_t rank);

}  // namespace dodeca::runtime::quantize
