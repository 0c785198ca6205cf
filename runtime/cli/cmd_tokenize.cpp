// dodeca tokenize: text to ids and back, chat templates rendered. Needs a vocabulary only: no weights are read.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "runtime/cli/command.hpp"
#include "runtime/cli/model_options.hpp"
#include "runtime/cli/text_options.hpp"
#include "runtime/eval/windows.hpp"
#include "runtime/text/chat_template.hpp"
#include "runtime/text/tokenizer.hpp"

namespace dodeca::runtime::cli {
namespace {

void print_ids(const Tokenizer& tokenizer, std::span<const TokenId> ids, bool as_list) {
  std::string out = as_list ? "[" : "";
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (as_list) {
      out += fmt::format("{}{}", i > 0 ? ", " : "", ids[i]);
    } else {
      out += fmt::format("{:6} -> '{}'\n", ids[i], tokenizer.piece(ids[i], true));
    }
  }
  print_out(out + (as_list ? "]\n" : ""));
}

}  // namespace

int cmd_tokenize(std::span<const std::string> args) {
  std::string model, prompt, file, chat;
  std::vector<std::string> overrides;
  EscapeOptions escapes;
  TemplateOptions template_options;
  bool from_stdin = false, ids_only = false, no_bos = false, no_parse_special = false, show_count = false;
  bool detokenize = false, as_text = false, no_generation_prompt = false;
  Options options("dodeca tokenize", "Text to token ids and back.",
                  "dodeca tokenize -m model.gguf -p 'It is a truth' --ids");
  options.value("-m,--model", model, "a GGUF (its vocabulary is enough) or a Hugging Face directory", "PATH",
                FileUse::kModel);
  options.value("-p,--prompt", prompt, "the text");
  options.value("-f,--file", file, "a file with the text, as it is; -: standard input", "FILE", FileUse::kReads);
  options.flag("--stdin", from_stdin, "read the text from standard input");
  options.flag("--ids", ids_only, "print [1, 2, 3] instead of one token per line");
  options.flag("--no-bos", no_bos, "do not add the beginning-of-text token, whatever the model says");
  options.flag("--no-parse-special", no_parse_special, "control tokens in the text are plain text");
  options.flag("--show-count", show_count, "print the number of tokens at the end");
  options.flag("--detokenize", detokenize,
               "the way back: the text is ids ([1, 2, 3] or 1 2 3); prints exactly their bytes");
  options.value("--chat", chat, "a JSON array of messages, rendered with the model's template; -: standard input",
                "FILE", FileUse::kReads);
  options.flag("--text", as_text, "with --chat: print the rendered text instead of tokens");
  escapes.add_flags(options, "-p");
  template_options.add_flags(options);
  options.flag("--no-generation-prompt", no_generation_prompt, "with --chat: do not open the assistant's turn");
  options.values("--override-kv,-okv", overrides, kOverrideHelp, "KEY=TYPE:VALUE,...");
  Console console;
  console.add_flags(options);
  options.parse(args);

  check_overrides(overrides);
  if (model.empty()) throw Usage("-m PATH is needed: a GGUF or a Hugging Face directory");
  const int n_sources = options.given("-p") + options.given("-f") + from_stdin + options.given("--chat");
  if (n_sources != 1) throw Usage("one of -p TEXT, -f FILE, --stdin and --chat FILE is needed");
  if (as_text && chat.empty()) throw Usage("--text goes with --chat");
  if (template_options.none) throw Usage("--no-chat-template leaves nothing to render: write -p TEXT or -f FILE");
  if (detokenize && !chat.empty()) throw Usage("--detokenize does not go with --chat");

  template_options.read();
  const Tokenizer tokenizer = Tokenizer::from_path(model, overrides);
  std::vector<TokenId> ids;
  if (!chat.empty()) {
    const Json conversation = parse_json(read_text_file(chat), chat == "-" ? "standard input" : chat);
    const bool wrapped = conversation.is_object() && conversation.contains("messages");
    const Json& messages = wrapped ? conversation["messages"] : conversation;
    const Json tools = wrapped && conversation.contains("tools") ? conversation["tools"] : Json();
    ChatOptions chat_options;
    chat_options.add_generation_prompt = !no_generation_prompt;
    if (!template_options.thinking.empty()) chat_options.thinking = template_options.thinking == "on";
    const std::vector<TextPiece> pieces =
        template_options.choose(tokenizer)->render_pieces(messages, tools, chat_options);
    if (as_text) {
      std::string text;
      for (const TextPiece& piece : pieces) text += piece.text;
      print_out(stdout_is_terminal() ? text + "\n" : text);
      flush_out();
      return 0;
    }
    ids = tokenizer.encode_pieces(pieces, !no_bos);
  } else {
    const std::string text = options.given("-p") ? escapes.read(prompt) : read_text_file(from_stdin ? "-" : file);
    if (detokenize) {
      // "[1, 2, 3]", "1 2 3", one per line.
      ids = parse_ids(text, "the ids", "[],");
      eval::require_in_vocabulary(ids, tokenizer.vocab_size());
      // The way back from this command: what it put in front by itself goes away again.
      const bool drop_bos = !no_bos && tokenizer.add_bos() && !ids.empty() && ids[0] == tokenizer.bos();
      const std::string out = tokenizer.decode(std::span<const TokenId>(ids).subspan(drop_bos ? 1 : 0), true);
      print_out(stdout_is_terminal() ? out + "\n" : out);
      flush_out();
      return 0;
    }
    ids = tokenizer.encode(text, {.add_special = !no_bos, .parse_special = !no_parse_special});
  }
  print_ids(tokenizer, ids, ids_only);
  if (show_count) print_out(fmt::format("Total number of tokens: {}\n", ids.size()));
  flush_out();
  return 0;
}

}  // namespace dodeca::runtime::cli
