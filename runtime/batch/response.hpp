// Result lines in the shapes of OpenAI's batch output: chat.completion and text_completion objects, and errors.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/batch/request.hpp"
#include "runtime/engine/engine.hpp"

namespace dodeca::runtime::batch {

// What generation gave for one request.
struct Generated {
  std::string text;                       // bytes, without the stop text
  std::vector<engine::TokenInfo> tokens;  // all sampled ones
  std::vector<engine::TokenInfo> prompt;  // when echoed with logprobs
  engine::FinishReason finish = engine::FinishReason::kNone;
  std::int64_t n_prompt = 0;
  std::string echoed;  // completions with echo: the prompt's text
};

struct LineIdentity {
  std::string id;  // "batch_req_..."
  std::string custom_id;
  std::string model;
  std::int64_t created = 0;  // Unix time
};

// All return one line with its newline. `piece`: bytes of a token.
std::string result_line(const LineIdentity& identity, const BatchRequest& request, const Generated& generated,
                        const std::function<std::string(std::int32_t)>& piece);
std::string refusal_line(const LineIdentity& identity, const RefusedRequest& refused);
std::string malformed_line(const std::string& id, std::int64_t line_number, const MalformedLine& malformed);

// A line of ours, read again.
struct OutputLine {
  std::string id;        // empty: it is none
  bool refused = false;  // an error, no result
};
OutputLine parse_output_line(std::string_view line);

}  // namespace dodeca::runtime::batch
