// One line of an OpenAI batch input, understood or refused. What is not supported is refused by name, never ignored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/load/json.hpp"
#include "runtime/sample/sampler.hpp"
#include "runtime/text/chat_template.hpp"

namespace dodeca::runtime::batch {

// The line cannot be a request: reported with its number, without a response.
struct MalformedLine {
  std::string code, message;
};
// The request is refused: a response with this status and OpenAI's error object.
struct RefusedRequest {
  int status = 400;
  std::string message, param, code;
};

struct BatchRequest {
  bool chat = false;
  std::string model;                                            // as the line names it; empty: it does not
  std::vector<ChatMessage> messages;                            // chat
  std::variant<std::string, std::vector<std::int32_t>> prompt;  // completions: text or ids
  SamplerOptions sampling;
  std::optional<std::int64_t> max_tokens;
  std::vector<std::string> stop;
  std::int64_t n_logprobs = -1;  // as Request::n_logprobs
  bool echo = false;
};

struct ParsedLine {
  std::string custom_id;  // empty when malformed
  std::variant<BatchRequest, RefusedRequest, MalformedLine> what;
};

// The line's custom_id; nullopt when it is no JSON object with one. Never throws for the text.
std::optional<std::string> custom_id_of(std::string_view line);
// defaults: for the sampling fields that the line does not name; its seed is mixed with the custom_id's.
ParsedLine parse_line(std::string_view line, const SamplerOptions& defaults);

}  // namespace dodeca::runtime::batch
