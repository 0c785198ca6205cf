#include "runtime/model/architectures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "runtime/base/error.hpp"
#include "runtime/base/printable.hpp"

namespace dodeca::runtime {
namespace {

struct Relative {
  std::string_view names;  // as plain_name() gives them, with a space around each
  std::string_view model, missing;
};
constexpr std::string_view kDelta = "linear attention with a recurrent state (gated delta net)";
constexpr Relative kRelatives[] = {
    {" deepseek4 deepseekv4 ", "DeepSeek-V4",
     "its attention over compressed rows, its parallel residual streams and experts chosen by token id"},
    {" deepseek41 deepseekv41 ", "DeepSeek-V4.1", "its encoder and its attention over compressed rows"},
    {" qwen3next ", "Qwen3-Next", kDelta},
    {" qwen35 qwen35moe ", "Qwen3.5", kDelta},
    {" qwen4exp ", "Qwen3.8-Flash-Next", "linear attention with a recurrent state and its table of n-grams"},
    {" kimilinear ", "Kimi-Linear", "linear attention with a recurrent state (Kimi delta attention)"},
    {" kimik3 ", "Kimi-K3", "linear attention with a recurrent state (Kimi delta attention) and latent experts"},
    {" glm5next ", "GLM-5.3-Flash",
     "linear attention with a recurrent state (Kimi delta attention) and parallel residual streams"},
    {" minimaxm3 minimaxm3sparse minimaxm3vl ", "MiniMax-M3", "its block-sparse attention"},
};

// "Qwen3_5MoeForConditionalGeneration", "qwen3_5_moe_text", "qwen35moe": qwen35moe.
std::string plain_name(std::string_view name) {
  for (const std::string_view ending : {"ForCausalLM", "ForConditionalGeneration", "_text"})
    if (name.ends_with(ending)) name.remove_suffix(ending.size());
  std::string plain;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z')
      plain += static_cast<char>(c - 'A' + 'a');
    else if (c != '_' && c != '-')
      plain += c;
  }
  return plain;
}

}  // namespace

void refuse_relative(std::string_view name, std::string_view supported) {
  const std::string plain = plain_name(name);
  if (plain.empty() || plain.find(' ') != std::string::npos) return;
  const auto* found = std::ranges::find_if(kRelatives, [word = " " + plain + " "](const Relative& relative) {
    return relative.names.find(word) != std::string_view::npos;
  });
  if (found != std::end(kRelatives))
    throw Error(ErrorKind::kUnsupported,
                fmt::format("architecture '{}' ({}) is not supported: dodeca does not have {} (supported: {})",
                            printable(name, 128), found->model, found->missing, supported));
}

}  // namespace dodeca::runtime
