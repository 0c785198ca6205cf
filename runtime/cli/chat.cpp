#include "runtime/cli/chat.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "runtime/base/error.hpp"
#include "runtime/cli/remedies.hpp"

namespace dodeca::runtime::cli {
namespace {

using engine::FinishReason;

constexpr std::string_view kHelp =
    "/exit   leave\n"
    "/clear  forget the conversation\n"
    "/regen  answer the last message again\n"
    "/help   this list\n"
    "Ctrl-C stops an answer; where there is none, it leaves.";

// Lines of standard input; a signal ends the wait (std::getline would start over).
class LineReader {
 public:
  // nullopt at the end of the input or at a signal.
  std::optional<std::string> next() {
    for (;;) {
      if (const std::size_t newline = buffer_.find('\n'); newline != std::string::npos) {
        std::string line = buffer_.substr(0, newline);
        buffer_.erase(0, newline + 1);
        if (line.ends_with('\r')) line.pop_back();
        return line;
      }
      if (stop_signal() != 0) return std::nullopt;
      char chunk[4096];
      const ssize_t n = ::read(STDIN_FILENO, chunk, sizeof chunk);
      if (n > 0) {
        buffer_.append(chunk, n);
      } else if (n == 0) {
        if (buffer_.empty()) return std::nullopt;
        buffer_ += '\n';
      } else if (errno != EINTR) {
        throw Error(ErrorKind::kIo, fmt::format("cannot read standard input: {}",
                                                errno == EBADF ? "it is closed" : std::strerror(errno)));
      }
    }
  }

 private:
  std::string buffer_;
};

void prompt_user() {
  if (!stdin_is_terminal()) return;
  const bool colour = use_colour();
  fmt::print(stderr, "{}> {}", colour ? "\x1b[32m" : "", colour ? "\x1b[0m" : "");
  std::fflush(stderr);
}

class Conversation {
 public:
  Conversation(ChatSetup setup, const Console& console) : setup_(std::move(setup)), console_(console) { clear(); }

  // One user message and its answer. False when the answer was stopped by SIGINT.
  void ask(std::string text) {
    messages_.push_back({"user", std::move(text)});
    answer();
  }
  void regenerate() {
    while (!messages_.empty() && messages_.back().role == "assistant") messages_.pop_back();
    if (messages_.empty() || messages_.back().role != "user") return console_.warn("there is no answer to make again");
    ++setup_.request.sampling.seed;
    answer();
  }
  void clear() {
    messages_.clear();
    if (!setup_.system.empty()) messages_.push_back({"system", setup_.system});
  }

 private:
  void answer() {
    engine::Request request = setup_.request;
    Answer answer;
    try {
      request.prompt = setup_.template_options.encode(setup_.tokenizer, setup_.chat_template, messages_);
      answer = stream_answer(setup_.engine, std::move(request));
    } catch (const Error& error) {
      // What does not fit or is refused leaves the conversation as it was; without a person to go on, it is the end.
      const bool of_this_turn = error.kind() == ErrorKind::kDoesNotFit || error.kind() == ErrorKind::kBadRequest;
      if (!of_this_turn || !stdin_is_terminal() || setup_.single_turn) throw;
      messages_.pop_back();
      return console_.warn(fmt::format("{} (/clear begins anew)", error_text(error, "dodeca run")));
    }
    print_out("\n");
    flush_out();
    messages_.push_back({"assistant", answer.text});
    if (answer.finish == FinishReason::kContextFull)
      console_.warn(fmt::format("the context of {} positions is full: /clear begins anew, a larger -c holds more",
                                setup_.context));
    if (answer.finish == FinishReason::kMaxTokens)
      console_.detail(fmt::format("stopped after {} tokens (-n)", setup_.request.max_tokens));
    if (answer.finish == FinishReason::kCancelled) {
      if (stop_signal() != SIGINT || setup_.single_turn || !stdin_is_terminal()) throw Stopped{};
      clear_stop_signal();
    }
  }

  ChatSetup setup_;
  const Console& console_;
  std::vector<ChatMessage> messages_;
};

}  // namespace

Answer stream_answer(engine::Engine& engine, engine::Request request) {
  Answer answer;
  Utf8Stream stream;
  const auto show = [&](const std::string& text) {
    answer.text += text;
    if (text.empty()) return;
    print_out(text);
    flush_out();
  };
  const engine::RequestId id = engine.submit(std::move(request), [&](const engine::Event& event) {
    show(stream.take(event.text));
    answer.finish = event.finish;
  });
  bool cancelled = false;
  const auto step = [&] {
    try {
      return engine.step();
    } catch (const Stopped&) {  // in the middle of a long pass: there is a request to cancel
      return true;
    }
  };
  while (step())
    if (stop_signal() != 0 && !cancelled) {
      engine.cancel(id);
      cancelled = true;
    }
  show(stream.flush());
  return answer;
}

void chat(ChatSetup setup, const Console& console) {
  const bool single_turn = setup.single_turn;
  std::optional<std::string> line = std::move(setup.first);
  LineReader reader;
  Conversation conversation(std::move(setup), console);
  if (!line && stdin_is_terminal()) console.info("chat: /help lists the commands");
  for (bool first = line.has_value();; first = false) {
    if (!first) {
      prompt_user();
      line = reader.next();
    }
    throw_if_stopped();
    if (!line) break;
    if (!first && line->starts_with('/')) {
      if (*line == "/exit" || *line == "/quit") break;
      if (*line == "/help")
        console.warn(kHelp);
      else if (*line == "/clear")
        conversation.clear();
      else if (*line == "/regen")
        conversation.regenerate();
      else
        console.warn(fmt::format("unknown command {}; /help lists the commands", *line));
      continue;
    }
    if (line->find_first_not_of(" \t") == std::string::npos) continue;
    conversation.ask(std::move(*line));
    if (single_turn) break;
  }
}

}  // namespace dodeca::runtime::cli
