// Chat templates. The Jinja source in the model file decides: it is interpreted (jinja.hpp) as transformers'
// apply_chat_template does, with trim_blocks and lstrip_blocks. A construct that the interpreter does not know is
// Error{kUnsupported} naming it and its line, with --chat-template and --no-chat-template as ways out; so is a template
// that takes more than 5 s of processor time, 256 MiB or what else jinja_budget.hpp allows. Immutable after
// construction and thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/error.hpp"
#include "runtime/load/json.hpp"
#include "runtime/text/tokenizer.hpp"

namespace dodeca::runtime {

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
  std::string name = {};  // of the one who speaks, for templates that show it; empty: none
};

struct ChatOptions {
  bool add_generation_prompt = true;
  // For templates with a switch (`thinking` of DeepSeek-V3.1, `enable_thinking` of Qwen3 and GLM-4.5); nullopt: the
  // template's own.
  std::optional<bool> thinking;
  std::optional<std::int64_t> now;  // Unix time for templates that print the date (gpt-oss); nullopt: the clock
};

class ChatTemplate {
 public:
  // From Jinja source, or throw Error{kUnsupported}.
  static ChatTemplate from_source(std::string_view jinja, std::string_view bos, std::string_view eos);
  // By name (--chat-template NAME); Error{kBadRequest} lists the names.
  static ChatTemplate from_name(std::string_view name, std::string_view bos, std::string_view eos);
  static std::vector<std::string_view> names();

  std::string_view name() const;  // the name, or "model" when the source came from a file
  // The prompt text. Special tokens are in it as text: encode with parse_special. Error{kBadRequest} for what the
  // template refuses.
  std::string render(std::span<const ChatMessage> messages, const ChatOptions& options = {}) const;
  // The same as pieces for Tokenizer::encode_pieces, so that user text cannot inject control tokens.
  using Piece = TextPiece;
  std::vector<Piece> render_pieces(std::span<const ChatMessage> messages, const ChatOptions& options = {}) const;
  // With everything that a message may carry (tool_calls, reasoning_content, content parts); `tools` null or an array.
  std::vector<Piece> render_pieces(const Json& messages, const Json& tools, const ChatOptions& options = {}) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace dodeca::runtime
