// Chat templates. The Jinja source in the model file decides: it is recognised as one of the families that we render natively and
// exactly (formats of the published models); an unknown one is an error that names --chat-template and --no-chat-template.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/error.hpp"

namespace dodeca::runtime {

struct ChatMessage {
  std::string role;     // system, user, assistant
  std::string content;
};

struct ChatOptions {
  bool add_generation_prompt = true;
  bool thinking = false;  // for families with a switch (DeepSeek-V3.1, Qwen3)
};

class ChatTemplate {
 public:
  // From Jinja source, or throw Error{kUnsupported}.
  static ChatTemplate from_source(std::string_view jinja, std::string_view bos, std::string_view eos);
  // By family name (--chat-template NAME); Error{kBadRequest} lists the names.
  static ChatTemplate from_name(std::string_view name, std::string_view bos, std::string_view eos);
  static std::vector<std::string_view> names();

  std::string_view name() const;
  // The prompt text. Special tokens are in it as text: encode with parse_special. Error{kBadRequest} for roles the family refuses.
  std::string render(std::span<const ChatMessage> messages, const ChatOptions& options = {}) const;
  // The same as pieces, to be encoded with parse_special only where `special`, so that user text cannot inject control tokens.
  struct Piece {
    std::string text;
    bool special;
  };
  std::vector<Piece> render_pieces(std::span<const ChatMessage> messages, const ChatOptions& options = {}) const;

 private:
  int family_ = 0;
  std::string bos_, eos_;
};

}  // namespace dodeca::runtime
