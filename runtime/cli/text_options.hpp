// Flags that commands which make text share: sampling and chat template, and the vocabulary behind them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/cli/options.hpp"
#include "runtime/sample/sampler.hpp"
#include "runtime/text/chat_template.hpp"
#include "runtime/text/tokenizer.hpp"

namespace dodeca::runtime::cli {

struct SamplingOptions {
  SamplerOptions values;
  std::int64_t seed = -1;  // -1: random

  void add_flags(Options& options, std::string_view seed_help);
  // After parse: turns off what --samplers leaves out. Throws Usage for an order that is not the sampler's.
  void apply_order(const Options& options);

 private:
  std::string samplers_, sequence_;
};

struct TemplateOptions {
  std::string name, file, thinking;
  bool none = false;

  void add_flags(Options& options);
  // After parse: reads the text of a template, so that what is wrong with it is told before a model is loaded. Throws
  // Usage, Error.
  void read();
  // In words, for results that must not mix: the same text is the same template.
  std::string identity() const;
  // The model's template or the one asked for; nullopt with --no-chat-template. Error{kUnsupported} when the model has
  // none.
  std::optional<ChatTemplate> choose(const Tokenizer& tokenizer) const;
  // A conversation as ids, ready for the assistant's answer; without a template its texts in a row.
  std::vector<TokenId> encode(const Tokenizer& tokenizer, const std::optional<ChatTemplate>& chat_template,
                              std::span<const ChatMessage> messages) const;

 private:
  std::string source_;  // of the file, or given itself
};

// Whether \n and its like in texts of the command line are read, as llama.cpp reads them; texts of files never are.
struct EscapeOptions {
  void add_flags(Options& options, std::string_view where);  // -e, --no-escape
  std::string read(std::string_view text) const;

 private:
  bool on_ = false, off_ = false;
};

// Error{kUnsupported} when the model's file has no vocabulary, or a better reason when it is no model that runs here.
Tokenizer open_tokenizer(const std::filesystem::path& model, std::span<const std::string> override_kv);

// A whole file or pipe of UTF-8, its byte order mark dropped; "-": standard input. A stop signal ends the wait.
// Error{kIo}; Error{kBadFile} for another encoding; Error{kBadRequest} for a pipe without end.
std::string read_text_file(const std::string& path);
// For files that are read twice or replaced as a whole: Usage when the path is "-", a pipe or a device.
void refuse_stream(std::string_view flag, const std::string& path);
// Decimal token ids between white space and any of `separators`; Error{kBadFile} names `where` they are.
std::vector<TokenId> parse_ids(std::string_view text, std::string_view where, std::string_view separators = {});
// As llama.cpp does: \n \r \t \' \" \\ \xHH; anything else stays.
std::string unescape(std::string_view text);

}  // namespace dodeca::runtime::cli
