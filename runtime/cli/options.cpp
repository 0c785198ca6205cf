#include "runtime/cli/options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>

#include "runtime/cli/console.hpp"
#include "runtime/cli/pasted_options.hpp"
#include "runtime/cli/suggestion.hpp"
#include "runtime/model/model_files.hpp"

namespace dodeca::runtime::cli {
namespace {

std::vector<std::string> split_names(std::string_view names) {
  std::vector<std::string> out;
  while (!names.empty()) {
    const std::size_t comma = names.find(',');
    out.emplace_back(names.substr(0, comma));
    names = comma == std::string_view::npos ? std::string_view() : names.substr(comma + 1);
  }
  return out;
}

bool looks_like_number(std::string_view text) {
  return text.size() > 1 && text[0] == '-' && ((text[1] >= '0' && text[1] <= '9') || text[1] == '.');
}

}  // namespace

std::int64_t parse_integer(std::string_view flag, std::string_view text, Bounds bounds) {
  std::int64_t number = 0;
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), number);
  if (text.empty() || error == std::errc::invalid_argument || end != text.data() + text.size())
    throw Usage(fmt::format("{} needs a whole number, not '{}'", flag, text));
  if (error == std::errc::result_out_of_range || number < bounds.min || number > bounds.max) {
    if (bounds.max == kNoMaximum) throw Usage(fmt::format("{} must be at least {}, not {}", flag, bounds.min, text));
    throw Usage(fmt::format("{} must be between {} and {}, not {}", flag, bounds.min, bounds.max, text));
  }
  return number;
}

std::uint64_t parse_bytes(std::string_view flag, std::string_view text) {
  constexpr std::string_view kUnits = "KMGT";
  double bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  bool known = true;
  if (!unit.empty()) {
    const std::size_t power = kUnits.find(static_cast<char>(std::toupper(static_cast<unsigned char>(unit[0]))));
    unit.remove_prefix(1);
    known = power != std::string_view::npos && (unit.empty() || unit == "B" || unit == "b" || unit == "iB");
    if (known) bytes *= std::pow(unit == "iB" ? 1024.0 : 1000.0, static_cast<double>(power + 1));
  }
  if (text.empty() || error != std::errc() || !known || !(bytes >= 1) || bytes > 1e18)
    throw Usage(fmt::format("{} needs a size such as 230GiB, 500M or 12345, not '{}'", flag, text));
  return static_cast<std::uint64_t>(bytes);
}

double parse_real(std::string_view flag, std::string_view text, RealBounds bounds) {
  double number = 0;
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const auto [end, error] = std::from_chars(begin, text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || !std::isfinite(number))
    throw Usage(fmt::format("{} needs a number, not '{}'", flag, text));
  if (number < bounds.min || number > bounds.max) {
    if (bounds.max == RealBounds().max)
      throw Usage(fmt::format("{} must be at least {}, not {}", flag, bounds.min, text));
    throw Usage(fmt::format("{} must be between {} and {}, not {}", flag, bounds.min, bounds.max, text));
  }
  return number;
}

struct Options::Entry {
  std::vector<std::string> names;  // empty for positionals
  int arity = 0;                   // 0: flag, 1: value, -1: value when the next argument is one of words
  std::vector<std::string> words;
  std::string internal;  // CLI11's name
  std::string value_name;
  std::string used;  // as the command line spelt it
  CLI::Option* option = nullptr;
};

struct Options::Impl {
  CLI::App app;
  std::string command;
  std::vector<std::unique_ptr<Entry>> entries;
  std::map<std::string, Entry*, std::less<>> by_name;
  std::vector<std::function<void(FileRoles&)>> declare_files;
  FileRoles files;
  std::vector<std::string> notes;  // on what was accepted of other programs' options
  std::function<void(std::string_view)> say;

  Entry* find(std::string_view name) const {
    const auto it = by_name.find(name);
    return it == by_name.end() ? nullptr : it->second;
  }
  // A name with its value, if "=" joins them; long names with the dashes that people write as underscores.
  std::pair<std::string, std::optional<std::string>> split(const std::string& arg) const;
  // Of the arguments that must be there.
  std::string first_missing() const;
  [[noreturn]] void refuse_unknown(const std::string& name) const;
  // Takes an option of another program, with its value from `value` or from args behind i. False: there is none.
  bool take_pasted(const std::string& name, std::optional<std::string> value, std::span<const std::string> args,
                   std::size_t& i);
  std::vector<std::string> translate(std::span<const std::string> args, bool& help);
};

namespace {

std::string pasted_help(std::string_view command) {
  if (accepted_names(command).empty()) return "";
  return "\n\nOptions of llama.cpp and ik_llama.cpp that ask for nothing here (-fa, -fmoe, -mla, -rtr,\n"
         "--no-mmap, --prio, --jinja, --log-disable, ...) are accepted; one line each says what happens instead.";
}

// Shows the names that people type instead of CLI11's internal ones.
class NamesFormatter : public CLI::Formatter {
 public:
  std::map<std::string, std::string> shown;  // internal name -> "-n,--predict N"
  std::string make_option_name(const CLI::Option* option, bool) const override {
    const auto it = shown.find(option->get_single_name());
    return it == shown.end() ? option->get_single_name() : it->second;
  }
  std::string make_option_opts(const CLI::Option*) const override { return ""; }
};

}  // namespace

Options::Options(std::string command, std::string summary, std::string example) : impl_(std::make_unique<Impl>()) {
  impl_->command = command;
  impl_->app.name(std::move(command));
  impl_->app.description(std::move(summary));
  impl_->app.footer("Example:\n  " + std::move(example) + pasted_help(impl_->command));
  impl_->app.set_help_flag();
  auto formatter = std::make_shared<NamesFormatter>();
  formatter->column_width(36);
  impl_->app.formatter(formatter);
}

Options::~Options() = default;

void Options::add(std::string_view names, int arity, std::string help, const std::string& value_name,
                  std::function<void(const std::string&, const std::vector<std::string>&)> store) {
  auto entry = std::make_unique<Entry>();
  entry->names = split_names(names);
  entry->arity = arity;
  entry->internal = fmt::format("--option{}", impl_->entries.size());
  entry->value_name = value_name;
  Entry* const e = entry.get();
  // Values travel with one leading '=' so that no version of CLI11 gives a meaning to "", "[a,b]" or "{}".
  const CLI::callback_t callback = [e, store = std::move(store)](const CLI::results_t& results) {
    std::vector<std::string> texts;
    for (const std::string& result : results)
      if (result.starts_with('=')) texts.push_back(result.substr(1));
    store(e->used, texts);
    return true;
  };
  e->option = impl_->app.add_option(e->internal, callback, std::move(help));
  e->option->type_size(1)->expected(1)->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  auto* formatter = dynamic_cast<NamesFormatter*>(impl_->app.get_formatter().get());
  std::string shown(names);
  if (!value_name.empty()) shown += " " + value_name;
  formatter->shown[e->option->get_single_name()] = shown;
  for (const std::string& name : e->names) {
    if (!impl_->by_name.emplace(name, e).second) throw std::logic_error("option declared twice: " + name);
  }
  impl_->entries.push_back(std::move(entry));
}

void Options::flag(std::string_view names, bool& target, std::string help) {
  add(names, 0, std::move(help), "", [&target](const std::string&, const auto&) { target = true; });
}

// Of every file option, so that none can be forgotten.
void Options::add_file(std::string_view names, std::string_view value_name, FileUse use,
                       std::function<std::vector<std::string>()> paths) {
  if (use == FileUse::kNone) {
    if (value_name.find("FILE") == std::string_view::npos && value_name.find("PATH") == std::string_view::npos) return;
    throw std::logic_error(fmt::format("{} {}: what is done with the file is not said (FileUse)", names, value_name));
  }
  if (use == FileUse::kDeclared) return;
  impl_->declare_files.push_back(
      [role = std::string(names.substr(0, names.find(','))), use, paths = std::move(paths)](FileRoles& files) {
        for (const std::string& path : paths()) {
          if (use == FileUse::kWrites)
            files.writes(path, role);
          else
            files.reads(path, role);
          if (use != FileUse::kModel || path.empty()) continue;
          for (const std::filesystem::path& part : model_files(path))
            if (part != path) files.reads(part, role + " file");
        }
      });
}

FileRoles& Options::files() { return impl_->files; }

void Options::value(std::string_view names, std::string& target, std::string help, const std::string& value_name,
                    FileUse use) {
  add_file(names, value_name, use, [&target] { return std::vector{target}; });
  add(names, 1, std::move(help), value_name,
      [&target](const std::string&, const auto& texts) { target = texts.back(); });
}

void Options::value(std::string_view names, std::int64_t& target, std::string help, Bounds bounds) {
  add(names, 1, std::move(help), "N", [&target, bounds](const std::string& flag, const auto& texts) {
    for (const std::string& text : texts) target = parse_integer(flag, text, bounds);
  });
}

void Options::value(std::string_view names, std::int32_t& target, std::string help, Bounds bounds) {
  bounds.min = std::max<std::int64_t>(bounds.min, std::numeric_limits<std::int32_t>::min());
  bounds.max = std::min<std::int64_t>(bounds.max, std::numeric_limits<std::int32_t>::max());
  add(names, 1, std::move(help), "N", [&target, bounds](const std::string& flag, const auto& texts) {
    for (const std::string& text : texts) target = static_cast<std::int32_t>(parse_integer(flag, text, bounds));
  });
}

void Options::value(std::string_view names, double& target, std::string help, RealBounds bounds) {
  add(names, 1, std::move(help), "X", [&target, bounds](const std::string& flag, const auto& texts) {
    for (const std::string& text : texts) target = parse_real(flag, text, bounds);
  });
}

void Options::values(std::string_view names, std::vector<std::string>& target, std::string help,
                     const std::string& value_name, FileUse use) {
  add_file(names, value_name, use, [&target] { return target; });
  add(names, 1, std::move(help), value_name,
      [&target](const std::string&, const auto& texts) { target.insert(target.end(), texts.begin(), texts.end()); });
}

void Options::choice(std::string_view names, std::string& target, std::vector<std::string> choices, std::string help) {
  const std::string list = fmt::format("{}", fmt::join(choices, "|"));
  add(names, 1, std::move(help), list, [&target, choices, list](const std::string& flag, const auto& texts) {
    for (const std::string& text : texts) {
      if (std::find(choices.begin(), choices.end(), text) == choices.end())
        throw Usage(fmt::format("{} must be one of {}, not '{}'", flag, list, text));
      target = text;
    }
  });
}

void Options::optional_value(std::string_view names, std::string& target, std::vector<std::string> words,
                             std::string bare, std::string help) {
  add(names, -1, std::move(help), fmt::format("[{}]", fmt::join(words, "|")),
      [&target, bare](const std::string&, const auto& texts) { target = texts.empty() ? bare : texts.back(); });
  impl_->entries.back()->words = std::move(words);
}

void Options::positional(const std::string& value_name, std::string& target, std::string help, bool required,
                         FileUse use) {
  add_file(value_name, value_name, use, [&target] { return std::vector{target}; });
  CLI::Option* option = impl_->app.add_option(
      value_name,
      [&target](const CLI::results_t& results) {
        target = results.back().substr(1);
        return true;
      },
      std::move(help));
  option->type_size(1)->expected(1)->allow_extra_args(false)->required(required);
}

std::pair<std::string, std::optional<std::string>> Options::Impl::split(const std::string& arg) const {
  if (find(arg) != nullptr) return {arg, std::nullopt};
  const std::size_t equals = arg.find('=');
  std::string name = arg.substr(0, equals);
  if (name.starts_with("--")) std::ranges::replace(name, '_', '-');
  if (equals == std::string::npos) return {std::move(name), std::nullopt};
  return {std::move(name), arg.substr(equals + 1)};
}

std::string Options::Impl::first_missing() const {
  for (const CLI::Option* option : app.get_options())
    if (option->get_required() && option->count() == 0) return option->get_single_name();
  return "an argument";
}

void Options::Impl::refuse_unknown(const std::string& name) const {
  std::vector<std::string> own = {"--help"};
  for (const auto& [known, entry] : by_name) own.push_back(known);
  std::string nearest = nearest_name(name, own);
  if (nearest.empty()) nearest = nearest_name(name, accepted_names(command));
  throw Usage(fmt::format("unknown option {}{}", name,
                          nearest.empty() ? "" : fmt::format("; the nearest known one is {}", nearest)));
}

bool Options::Impl::take_pasted(const std::string& name, std::optional<std::string> value,
                                std::span<const std::string> args, std::size_t& i) {
  const PastedOption* const option = find_pasted(command, name);
  if (option == nullptr) return false;
  if (option->value == PastedOption::Value::kNone && value)
    throw Usage(fmt::format("{} takes no value, not '{}'", name, *value));
  const bool has_next = !value && i + 1 < args.size();
  // What is refused whatever its value needs none to be told so.
  if (option->value == PastedOption::Value::kFollows && !value && !has_next && !option->harmless.empty())
    throw Usage(fmt::format("{} needs a value", name));
  if (has_next && (option->value == PastedOption::Value::kFollows ||
                   (option->value == PastedOption::Value::kMayFollow && is_switch_word(args[i + 1]))))
    value = args[++i];
  if (!asks_for_nothing(*option, value.value_or("on"))) {
    const std::string given = value && !option->harmless.empty() ? fmt::format("{} {}", name, *value) : name;
    throw Usage(fmt::format("{} is not supported: {}", given, option->refusal));
  }
  std::string note = fmt::format("{}: {}", name, option->answer);
  if (std::ranges::find(notes, note) == notes.end()) notes.push_back(std::move(note));
  return true;
}

std::vector<std::string> Options::Impl::translate(std::span<const std::string> args, bool& help) {
  std::vector<std::string> out;
  bool flags_over = false;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (flags_over || arg.size() < 2 || arg[0] != '-') {
      out.push_back("=" + arg);
      continue;
    }
    if (arg == "--") {
      flags_over = true;
      continue;
    }
    auto [name, value] = split(arg);
    Entry* const entry = find(name);
    if (entry == nullptr && (name == "--help" || name == "-h")) {
      help = true;
      continue;
    }
    if (entry == nullptr && looks_like_number(arg)) {
      out.push_back("=" + arg);
      continue;
    }
    if (entry == nullptr) {
      if (!take_pasted(name, std::move(value), args, i)) refuse_unknown(name);
      continue;
    }
    entry->used = name;
    if (entry->arity == 0 && value) throw Usage(fmt::format("{} takes no value, not '{}'", name, *value));
    if (entry->arity == 1 && !value) {
      if (++i == args.size()) throw Usage(fmt::format("{} needs a value ({})", name, entry->value_name));
      value = args[i];
    }
    const auto is_word = [&](const std::string& text) {
      return std::find(entry->words.begin(), entry->words.end(), text) != entry->words.end();
    };
    if (entry->arity == -1) {
      if (!value && i + 1 < args.size() && is_word(args[i + 1])) value = args[++i];
      if (value && !is_word(*value))
        throw Usage(fmt::format("{} must be one of {}, not '{}'", name, fmt::join(entry->words, "|"), *value));
    }
    out.push_back(entry->internal);
    // A bare flag gives CLI11 a text without the leading '=', which add() drops.
    out.push_back(value ? "=" + *value : "bare");
  }
  return out;
}

void Options::on_note(std::function<void(std::string_view)> say) { impl_->say = std::move(say); }

void Options::parse(std::span<const std::string> args) {
  bool help = false;
  std::vector<std::string> translated = impl_->translate(args, help);
  if (help) {
    print_out(impl_->app.help());
    throw HelpShown{};
  }
  std::reverse(translated.begin(), translated.end());
  try {
    impl_->app.parse(translated);
  } catch (const CLI::ExtrasError&) {
    std::vector<std::string> extra;
    for (const std::string& text : impl_->app.remaining()) extra.push_back(text.substr(text.starts_with('=') ? 1 : 0));
    throw Usage(fmt::format("does not take the argument '{}'", extra.empty() ? "" : extra.front()));
  } catch (const CLI::RequiredError&) {
    throw Usage(fmt::format("{} is missing", impl_->first_missing()));
  }
  for (const auto& declare : impl_->declare_files) declare(impl_->files);
  impl_->files.writes_standard_streams();
  impl_->files.check();
  if (impl_->say)
    for (const std::string& note : impl_->notes) impl_->say(note);
}

bool Options::given(std::string_view name) const {
  const Entry* entry = impl_->find(name);
  if (entry == nullptr) throw std::logic_error("no such option: " + std::string(name));
  return entry->option->count() > 0;
}

std::string Options::spelling(std::string_view name) const {
  const Entry* entry = impl_->find(name);
  return entry == nullptr || entry->used.empty() ? std::string(name) : entry->used;
}

}  // namespace dodeca::runtime::cli
