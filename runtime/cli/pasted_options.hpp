// Options of llama.cpp, ik_llama.cpp, KTransformers and vLLM that dodeca does not have. People paste command lines: what
// asks for nothing here is accepted and answered in one line; what would change the result is refused with what to write
// instead. One table; an option that a command declares itself comes before it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dodeca::runtime::cli {

struct PastedOption {
  enum class Value {
    kNone,
    kMayFollow,  // a switch: on, off, auto, 0, 1, true, false and lists of these
    kFollows,
  };
  std::string_view names;  // all spellings, comma-separated
  Value value;
  unsigned commands;  // bits of the commands that know it
  // Values that ask for nothing, separated by '|': "*" is every value, "''" the empty one, "*,0" what ends in ",0";
  // numbers compare as numbers. A switch without a value is "on".
  std::string_view harmless;
  std::string_view answer;   // to those: what dodeca does anyway
  std::string_view refusal;  // of the others: what it does not, and what to write instead
};

// The option of this command ("dodeca run") that has this name; null: none.
const PastedOption* find_pasted(std::string_view command, std::string_view name);
bool is_switch_word(std::string_view text);
bool asks_for_nothing(const PastedOption& option, std::string_view value);
// All spellings that the command accepts or may accept.
std::vector<std::string> accepted_names(std::string_view command);

}  // namespace dodeca::runtime::cli
