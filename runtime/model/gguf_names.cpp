#include "runtime/model/gguf_names.hpp"

#include <fmt/core.h>

#include "runtime/base/printable.hpp"
#include "runtime/model/weight_name.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::string_view kSelectionBias = "exp_probs_b.bias";

constexpr std::string_view kPostAttentionNorm = ".post_attention_norm.weight";

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

bool norm_follows_attention(std::string_view architecture) {
  return architecture == "glm4moe" || architecture == "gpt-oss";
}

}  // namespace

std::string name_in_file(std::string_view architecture, WeightId id) {
  if (id.role == WeightRole::kFfnNorm && norm_follows_attention(architecture))
    return fmt::format("blk.{}{}", id.layer, kPostAttentionNorm);
  return gguf_name(id);
}

std::string usual_name(std::string_view name) {
  const std::int64_t layer = layer_of(name);
  if (layer < 0 || !name.starts_with("blk.")) return std::string(name);
  // The selection bias: "exp_probs_b" with any ending or none (llama.cpp#25657), Hugging Face's name behind any module
  // (ktransformers#408).
  if (contains(name, "exp_probs_b") || contains(name, "e_score_correction_bias"))
    return fmt::format("blk.{}.{}", layer, kSelectionBias);
  return std::string(name);
}

void use_usual_names(GgufFile& file, const Log& log) {
  std::size_t n = 0;
  std::string first;
  const bool norm_has_other_name = norm_follows_attention(file.metadata().string("general.architecture").value_or(""));
  for (std::size_t i = 0; i < file.tensors().size(); ++i) {
    const std::string name = file.tensors()[i].name;
    const bool norm = norm_has_other_name && name.starts_with("blk.") && name.ends_with(kPostAttentionNorm);
    const std::string usual = norm ? gguf_name({WeightRole::kFfnNorm, layer_of(name)}) : usual_name(name);
    if (name == usual) continue;
    if (!file.rename(i, usual))
      throw Error(ErrorKind::kBadFile,
                  fmt::format("the file has both {} and {}, which mean the same tensor", printable(name, 128), usual));
    if (!norm && n++ == 0) first = fmt::format("{} is taken as {}", printable(name, 128), usual);
  }
  if (n > 0)
    log(Level::kInfo, fmt::format("tensors under another converter's names: {}{}", first,
                                  n > 1 ? fmt::format(", and {} more", n - 1) : ""));
}

}  // namespace dodeca::runtime
