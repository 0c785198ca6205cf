// The command line of one command, declared once: names, help text, where the value goes. Wraps CLI11, which knows
// neither llama.cpp's single-dash words (-ngl, -ctk) nor values that look like flags; both are translated before it
// sees them.
//
//   Options options("dodeca run", "Completes a text or chats.", "dodeca run -m model.gguf -p 'It is a truth'");
//   options.value("-n,--predict", n_predict, "tokens to generate; -1: until the end", {-1, kNoMaximum});
//   options.parse(args);
//
// `-n 5`, `-n=5` and `--predict=5` are the same, so are --top_p and --top-p; the last of repeated scalars wins; "--"
// ends the flags. Numbers are checked in full. Options of other programs are taken or refused as pasted_options.hpp says.
// parse() throws Usage (exit code 2) or HelpShown (exit code 0, text on standard output).
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/file_roles.hpp"

namespace dodeca::runtime::cli {

// Wrong usage: names the flag and what was expected.
struct Usage : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct HelpShown {};

inline constexpr std::int64_t kNoMaximum = std::numeric_limits<std::int64_t>::max();
struct Bounds {
  std::int64_t min = std::numeric_limits<std::int64_t>::min(), max = kNoMaximum;
};
struct RealBounds {
  double min = std::numeric_limits<double>::lowest(), max = std::numeric_limits<double>::max();
};

// Whole-text conversions for values that commands split themselves (comma lists). Throw Usage naming `flag`.
std::int64_t parse_integer(std::string_view flag, std::string_view text, Bounds bounds = {});
// "230GiB" is 230 * 2^30; "230G" and "230GB" are 230 * 10^9, as in llama.cpp's gguf-split; "12345". Throws Usage.
std::uint64_t parse_bytes(std::string_view flag, std::string_view text);
double parse_real(std::string_view flag, std::string_view text, RealBounds bounds = {});

// What a command does with the file that an option names. parse() refuses a command line on which an output is an input
// or another output (base/file_roles.hpp), before anything is opened.
enum class FileUse {
  kNone,      // no file; not for options whose value is called FILE or PATH
  kReads,     // "-" is standard input
  kModel,     // reads it and the files that belong to it
  kWrites,    // or reads and writes it
  kDeclared,  // the command says it to files() itself, once it knows more
};

class Options {
 public:
  Options(std::string command, std::string summary, std::string example);
  ~Options();

  // names: all spellings, comma-separated, with their dashes: "-ngl,--n-gpu-layers". Targets must outlive parse().
  void flag(std::string_view names, bool& target, std::string help);
  void value(std::string_view names, std::string& target, std::string help, const std::string& value_name = "TEXT",
             FileUse use = FileUse::kNone);
  void value(std::string_view names, std::int64_t& target, std::string help, Bounds bounds = {});
  void value(std::string_view names, std::int32_t& target, std::string help, Bounds bounds = {});
  void value(std::string_view names, double& target, std::string help, RealBounds bounds = {});
  // Repeatable; values are appended in order.
  void values(std::string_view names, std::vector<std::string>& target, std::string help,
              const std::string& value_name = "TEXT", FileUse use = FileUse::kNone);
  // One of the listed words.
  void choice(std::string_view names, std::string& target, std::vector<std::string> choices, std::string help);
  // A flag that takes the next argument only when that is one of the listed words (llama.cpp's `-fa`, `-fa on`);
  // target becomes the word, or `bare` without one.
  void optional_value(std::string_view names, std::string& target, std::vector<std::string> words, std::string bare,
                      std::string help);
  void positional(const std::string& value_name, std::string& target, std::string help, bool required = true,
                  FileUse use = FileUse::kNone);

  // Who is told, at the end of parse(), what happens instead of what accepted options of other programs ask for.
  void on_note(std::function<void(std::string_view line)> say);

  void parse(std::span<const std::string> args);
  // What parse() has declared and checked. A command that declares more checks again.
  FileRoles& files();
  // Whether the command line had this option; any of its names.
  bool given(std::string_view name) const;
  // Its spelling there, for messages: "-ngl".
  std::string spelling(std::string_view name) const;

 private:
  struct Impl;
  struct Entry;
  void add(std::string_view names, int arity, std::string help, const std::string& value_name,
           std::function<void(const std::string& flag, const std::vector<std::string>&)> store);
  void add_file(std::string_view names, std::string_view value_name, FileUse use,
                std::function<std::vector<std::string>()> paths);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dodeca::runtime::cli
