// What `dodeca run` does with a loaded model: stream one answer, or hold a conversation.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/cli/console.hpp"
#include "runtime/cli/text_options.hpp"
#include "runtime/engine/engine.hpp"

namespace dodeca::runtime::cli {

struct Answer {
  std::string text;  // as shown
  engine::FinishReason finish = engine::FinishReason::kNone;
};
// Streams to standard output as whole UTF-8 characters. A signal stops it: finish is then kCancelled.
Answer stream_answer(engine::Engine& engine, engine::Request request);

struct ChatSetup {
  engine::Engine& engine;
  const Tokenizer& tokenizer;
  const TemplateOptions& template_options;
  std::optional<ChatTemplate> chat_template;
  engine::Request request;           // sampling, stop, max_tokens; the prompt is filled in per turn
  std::string system;                // empty: none
  std::optional<std::string> first;  // the first message of the user, instead of reading it
  bool single_turn = false;
  std::int64_t context = 0;
};
// Reads turns from standard input until it ends or /exit. Throws Stopped on a signal outside an answer and on SIGTERM.
void chat(ChatSetup setup, const Console& console);

}  // namespace dodeca::runtime::cli
