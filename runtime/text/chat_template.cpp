#include "runtime/text/chat_template.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/text/chat_builtin.hpp"
#include "runtime/text/jinja.hpp"

namespace dodeca::runtime {

using jinja::Text;
using jinja::Value;

struct ChatTemplate::Impl {
  std::string name, bos, eos;
  jinja::Template program;
};

ChatTemplate ChatTemplate::from_source(std::string_view source, std::string_view bos, std::string_view eos) {
  return ChatTemplate(
      std::make_shared<const Impl>(Impl{"model", std::string(bos), std::string(eos), jinja::Template(source)}));
}

ChatTemplate ChatTemplate::from_name(std::string_view name, std::string_view bos, std::string_view eos) {
  for (const BuiltinTemplate& entry : builtin_templates()) {
    if (std::find(entry.names.begin(), entry.names.end(), name) == entry.names.end()) continue;
    return ChatTemplate(std::make_shared<const Impl>(
        Impl{std::string(entry.names[0]), std::string(bos), std::string(eos), jinja::Template(entry.source)}));
  }
  throw Error(ErrorKind::kBadRequest, fmt::format("unknown chat template '{}'", name))
      .with("known", fmt::format("{}", fmt::join(names(), ", ")));
}

std::vector<std::string_view> ChatTemplate::names() {
  std::vector<std::string_view> out;
  for (const BuiltinTemplate& entry : builtin_templates())
    out.insert(out.end(), entry.names.begin(), entry.names.end());
  return out;
}

std::string_view ChatTemplate::name() const { return impl_->name; }

std::string ChatTemplate::render(std::span<const ChatMessage> messages, const ChatOptions& options) const {
  std::string text;
  for (const Piece& piece : render_pieces(messages, options)) text += piece.text;
  return text;
}

std::vector<ChatTemplate::Piece> ChatTemplate::render_pieces(std::span<const ChatMessage> messages,
                                                             const ChatOptions& options) const {
  Json list = Json::array();
  for (const ChatMessage& message : messages) {
    list.push_back({{"role", message.role}, {"content", message.content}});
    if (!message.name.empty()) list.back()["name"] = message.name;
  }
  return render_pieces(list, Json(), options);
}

std::vector<ChatTemplate::Piece> ChatTemplate::render_pieces(const Json& messages, const Json& tools,
                                                             const ChatOptions& options) const {
  if (!messages.is_array()) throw Error(ErrorKind::kBadRequest, "messages are no JSON array");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].is_object() || !messages[i].contains("role") || !messages[i]["role"].is_string()) {
      throw Error(ErrorKind::kBadRequest, "a message is no object with a role").with("message", i);
    }
  }
  // What apply_chat_template defines; the switches only when they were asked for, since templates test whether they are
  // there.
  jinja::Budget budget;
  jinja::Template::Variables variables;
  const auto define = [&](const char* name, Value value) { variables.emplace_back(name, std::move(value)); };
  define("messages", jinja::from_json(budget, messages, true));
  define("tools", tools.is_null() ? Value::none() : jinja::from_json(budget, tools, true));
  define("documents", Value::none());
  define("add_generation_prompt", Value::of(options.add_generation_prompt));
  if (options.thinking) {
    define("thinking", Value::of(*options.thinking));
    define("enable_thinking", Value::of(*options.thinking));
  }
  if (!impl_->bos.empty()) define("bos_token", Value::of(budget, impl_->bos));
  if (!impl_->eos.empty()) define("eos_token", Value::of(budget, impl_->eos));
  const Text text = impl_->program.render(budget, std::move(variables), options.now);

  std::vector<Piece> pieces;
  for (std::size_t begin = 0; begin < text.size();) {
    const char mark = text.marks[begin];
    const std::size_t end = std::min(text.marks.find(mark == 0 ? '\1' : '\0', begin), text.size());
    pieces.push_back({text.bytes.substr(begin, end - begin), mark == 0});
    begin = end;
  }
  return pieces;
}

}  // namespace dodeca::runtime
