#include "runtime/cli/text_options.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "runtime/base/error.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/base/text_encoding.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/model/weight_source.hpp"

namespace dodeca::runtime::cli {
namespace {

constexpr std::size_t kMaxPipedBytes = std::size_t{1} << 30;  // what is no file may have no end

// As --samplers and --sampling-seq name them, in the order in which they work.
struct SamplerName {
  std::string_view name, other_name, letter;
};
constexpr SamplerName kSamplers[] = {{"penalties", "penalties", "e"},
                                     {"top_k", "top-k", "k"},
                                     {"top_p", "top-p", "p"},
                                     {"min_p", "min-p", "m"},
                                     {"temperature", "temp", "t"}};
// Of llama.cpp, off unless an option of their own turns them on, and those options are refused.
constexpr SamplerName kOffSamplers[] = {{"dry", "dry", "d"},         {"top_n_sigma", "top-n-sigma", "s"},
                                        {"typ_p", "typical_p", "y"}, {"typ-p", "typical-p", "y"},
                                        {"tfs_z", "tfs-z", "f"},     {"xtc", "xtc", "x"},
                                        {"infill", "infill", "i"},   {"adaptive_p", "adaptive-p", "a"}};

// Closed at the end, standard input excepted.
struct Descriptor {
  const int fd;
  explicit Descriptor(int opened) : fd(opened) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd > STDIN_FILENO) ::close(fd);
  }
};

}  // namespace

void SamplingOptions::add_flags(Options& options, std::string_view seed_help) {
  options.value("--temp,--temperature", values.temperature, "temperature; 0: greedy (default: 0.8)", {0.0});
  options.value("--top-k", values.top_k, "keep the k likeliest tokens; 0: all (default: 40)", {-1});
  options.value("--top-p", values.top_p, "keep the likeliest tokens up to this share (default: 0.95)", {0.0, 1.0});
  options.value("--min-p", values.min_p, "drop tokens below this share of the likeliest (default: 0.05)", {0.0, 1.0});
  options.value("--repeat-penalty", values.repeat_penalty, "penalty of repeated tokens; 1: none (default: 1.0)",
                {1e-6});
  options.value("--repeat-last-n", values.repeat_last_n, "tokens that penalties look back on; -1: all (default: 64)",
                {-1});
  options.value("--frequency-penalty", values.frequency_penalty, "penalty per earlier occurrence (default: 0)");
  options.value("--presence-penalty", values.presence_penalty, "penalty of tokens that occurred (default: 0)");
  options.value("-s,--seed", seed, std::string(seed_help), {-1});
  options.value("--samplers", samplers_,
                "which of penalties;top_k;top_p;min_p;temperature apply, in this order (default: all)", "NAME;...");
  options.value("--sampling-seq,--sampler-seq", sequence_, "the same in letters: ekpmt", "LETTERS");
}

void SamplingOptions::apply_order(const Options& options) {
  const bool by_letter = options.given("--sampling-seq");
  if (!by_letter && !options.given("--samplers")) return;
  const std::string_view flag = by_letter ? "--sampling-seq" : "--samplers";
  bool on[std::size(kSamplers)] = {};
  std::size_t last = 0;
  const auto turn_on = [&](std::string_view item) {
    const auto is = [&](const SamplerName& s) {
      return by_letter ? s.letter == item : s.name == item || s.other_name == item;
    };
    if (const auto* s = std::ranges::find_if(kSamplers, is); s != std::end(kSamplers)) {
      const auto at = static_cast<std::size_t>(s - kSamplers);
      if (at < last)
        throw Usage(
            fmt::format("{}: '{}' comes after '{}' there; the order here is penalties;top_k;top_p;min_p;temperature",
                        flag, item, by_letter ? kSamplers[last].letter : kSamplers[last].name));
      on[at] = true;
      last = at;
    } else if (std::ranges::find_if(kOffSamplers, is) == std::end(kOffSamplers)) {
      throw Usage(fmt::format("{}: there is no sampler '{}'; there are penalties;top_k;top_p;min_p;temperature", flag,
                              printable(item, 40)));
    }
  };
  if (by_letter) {
    for (std::size_t i = 0; i < sequence_.size(); ++i) turn_on(std::string_view(sequence_).substr(i, 1));
  } else {
    for (std::size_t begin = 0; begin < samplers_.size();) {
      const std::size_t end = std::min(samplers_.find_first_of(";,", begin), samplers_.size());
      turn_on(std::string_view(samplers_).substr(begin, end - begin));
      begin = end + 1;
    }
  }
  const SamplerOptions off{.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0};
  if (!on[0]) {
    values.repeat_penalty = off.repeat_penalty;
    values.frequency_penalty = off.frequency_penalty;
    values.presence_penalty = off.presence_penalty;
  }
  if (!on[1]) values.top_k = off.top_k;
  if (!on[2]) values.top_p = off.top_p;
  if (!on[3]) values.min_p = off.min_p;
  if (!on[4]) values.temperature = off.temperature;
}

void TemplateOptions::add_flags(Options& options) {
  options.value("--chat-template", name,
                fmt::format("a built-in template ({}), or the text of one", fmt::join(ChatTemplate::names(), ", ")),
                "NAME");
  options.value("--chat-template-file", file, "a file with a template, as Jinja", "FILE", FileUse::kReads);
  options.flag("--no-chat-template", none, "no template: the conversation's texts in a row");
  options.choice("--thinking", thinking, {"on", "off"}, "the switch of templates that have one");
}

void TemplateOptions::read() {
  if (!file.empty() && (!name.empty() || none))
    throw Usage(
        fmt::format("--chat-template-file and {} exclude each other", none ? "--no-chat-template" : "--chat-template"));
  if (!file.empty()) source_ = read_text_file(file);
  if (name.find('{') != std::string::npos) source_ = name;  // llama.cpp's --chat-template takes both
  if (!file.empty() && source_.find_first_not_of(" \t\r\n") == std::string::npos)
    throw Error(ErrorKind::kBadFile, fmt::format("--chat-template-file: there is no template in {}", file));
  if (!source_.empty()) (void)ChatTemplate::from_source(source_, "", "");
}

std::string TemplateOptions::identity() const {
  if (none) return "none";
  if (!source_.empty()) return fmt::format("text {:016x}", fnv1a(source_));
  return name.empty() ? "of the model" : name;
}

std::optional<ChatTemplate> TemplateOptions::choose(const Tokenizer& tokenizer) const {
  if (none) return std::nullopt;
  if (!source_.empty()) return ChatTemplate::from_source(source_, tokenizer.bos_text(), tokenizer.eos_text());
  if (!name.empty()) return ChatTemplate::from_name(name, tokenizer.bos_text(), tokenizer.eos_text());
  const std::string source = tokenizer.chat_template();
  if (source.empty())
    throw Error(
        ErrorKind::kUnsupported,
        fmt::format(
            "the model has no chat template: --chat-template NAME ({}) or --chat-template-file FILE gives it one, "
            "--no-chat-template goes without",
            fmt::join(ChatTemplate::names(), ", ")));
  return ChatTemplate::from_source(source, tokenizer.bos_text(), tokenizer.eos_text());
}

std::vector<TokenId> TemplateOptions::encode(const Tokenizer& tokenizer,
                                             const std::optional<ChatTemplate>& chat_template,
                                             std::span<const ChatMessage> messages) const {
  if (chat_template) {
    ChatOptions options;
    if (!thinking.empty()) options.thinking = thinking == "on";
    return tokenizer.encode_pieces(chat_template->render_pieces(messages, options));
  }
  std::vector<TextPiece> pieces;
  for (const ChatMessage& message : messages) pieces.push_back({message.content, false});
  return tokenizer.encode_pieces(pieces);
}

Tokenizer open_tokenizer(const std::filesystem::path& model, std::span<const std::string> override_kv) {
  try {
    if (std::filesystem::exists(model) && !Tokenizer::available(model))
      throw Error(
          ErrorKind::kUnsupported,
          fmt::format("{} has no vocabulary, so text means nothing to it; ppl --ids and dodeca-bench work without",
                      model.string()));
    return Tokenizer::from_path(model, override_kv);
  } catch (const Error&) {
    // Of what is no model that runs here, the reason for that is told, not what its vocabulary lacks.
    open_weights(model, {}, [](Level, std::string_view) {});
    throw;
  }
}

std::string read_text_file(const std::string& path) {
  const bool standard_input = path == "-";
  const std::string name = standard_input ? "standard input" : path;
  const Descriptor file(standard_input ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  throw_if_stopped();  // a pipe's open waits for a writer
  if (file.fd < 0) throw Error(ErrorKind::kIo, fmt::format("cannot open {}: {}", name, std::strerror(errno)));
  struct stat status {};
  const bool regular = ::fstat(file.fd, &status) == 0 && S_ISREG(status.st_mode);
  std::string text;
  if (regular) text.reserve(status.st_size);
  std::vector<char> buffer(std::size_t{1} << 16);
  for (;;) {
    const ssize_t n = ::read(file.fd, buffer.data(), buffer.size());
    const int error = errno;
    throw_if_stopped();
    if (n == 0) break;
    if (n > 0)
      text.append(buffer.data(), static_cast<std::size_t>(n));
    else if (error != EINTR)
      throw Error(ErrorKind::kIo,
                  fmt::format("cannot read {}: {}", name, error == EBADF ? "it is closed" : std::strerror(error)));
    if (!regular && text.size() > kMaxPipedBytes)
      throw Error(ErrorKind::kBadRequest, fmt::format("{} gave more than {} bytes of text", name, kMaxPipedBytes));
  }
  require_utf8(text, name);
  if (text.starts_with(kUtf8Mark)) text.erase(0, kUtf8Mark.size());
  return text;
}

void refuse_stream(std::string_view flag, const std::string& path) {
  std::error_code ignored;
  const std::filesystem::file_type type = std::filesystem::status(path, ignored).type();
  using enum std::filesystem::file_type;
  if (path == "-" || type == fifo || type == character || type == socket)
    throw Usage(fmt::format("{} {} is a stream, and what is there must be readable again: name a file", flag, path));
}

std::vector<TokenId> parse_ids(std::string_view text, std::string_view where, std::string_view separators) {
  const std::string between = " \t\r\n\f\v" + std::string(separators);
  std::vector<TokenId> ids;
  for (std::size_t at = text.find_first_not_of(between); at != std::string_view::npos;
       at = text.find_first_not_of(between, at)) {
    const std::size_t end = std::min(text.find_first_of(between, at), text.size());
    TokenId id = 0;
    const auto [stop, error] = std::from_chars(text.data() + at, text.data() + end, id);
    if (error != std::errc() || stop != text.data() + end || id < 0) {
      throw Error(ErrorKind::kBadFile, fmt::format("'{}' at byte {} of {} is no decimal token id",
                                                   printable(text.substr(at, end - at), 20), at, where));
    }
    ids.push_back(id);
    at = end;
  }
  return ids;
}

void EscapeOptions::add_flags(Options& options, std::string_view where) {
  options.flag("-e,--escape", on_, fmt::format("read \\n, \\t, \\\\, \\xHH and the like in {} (default)", where));
  options.flag("--no-escape", off_,
               fmt::format("take {} as {} typed", where, where.find(',') == where.npos ? "it is" : "they are"));
}

std::string EscapeOptions::read(std::string_view text) const { return off_ ? std::string(text) : unescape(text); }

std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    switch (const char c = text[++i]) {
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case '\'':
      case '"':
      case '\\':
        out += c;
        break;
      case 'x': {
        unsigned value = 0;
        const char* const digits = text.data() + i + 1;
        if (i + 2 < text.size() && std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
          out += static_cast<char>(value);
          i += 2;
          break;
        }
        [[fallthrough]];
      }
      default:
        out += '\\';
        out += c;
    }
  }
  return out;
}

}  // namespace dodeca::runtime::cli
