#include "runtime/batch/request.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/base/hash.hpp"
#include "runtime/base/printable.hpp"

namespace dodeca::runtime::batch {
namespace {

constexpr std::int64_t kMaxTopLogprobs = 20, kMaxStops = 16;

RefusedRequest invalid(std::string param, std::string message) {
  return {400, std::move(message), std::move(param), "invalid_value"};
}
RefusedRequest unsupported(std::string param, std::string message) {
  return {400, std::move(message), std::move(param), "unsupported_parameter"};
}

// 4 and 4.0, which is what languages without whole numbers write.
std::optional<std::int64_t> whole_number(const Json& value) {
  constexpr double kMaxExact = 9007199254740992.0;  // 2^53
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    if (std::abs(number) > kMaxExact || number != std::trunc(number)) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX))
    return std::nullopt;
  return value.get<std::int64_t>();
}

// Reads the fields of a body one by one and refuses what nobody asked for. null counts as absent, as in OpenAI's API.
class Body {
 public:
  explicit Body(const Json& body) : body_(body) {}

  const Json* take(std::string_view name) {
    seen_.emplace_back(name);
    const auto it = body_.find(name);
    return it == body_.end() || it->is_null() ? nullptr : &*it;
  }
  template <class T>
  void number(std::string_view name, double min, double max, T store) {
    const Json* value = take(name);
    if (value == nullptr) return;
    const double number = value->is_number() ? value->get<double>() : std::nan("");
    if (!(number >= min && number <= max))
      throw invalid(std::string(name),
                    fmt::format("{} must be a number between {} and {}, not {}", name, min, max, shown(*value)));
    store(number);
  }
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t min, std::int64_t max) {
    const Json* value = take(name);
    if (value == nullptr) return std::nullopt;
    const std::optional<std::int64_t> number = whole_number(*value);
    if (!number || *number < min || *number > max) {
      const std::string range =
          max == kAny ? fmt::format("of at least {}", min) : fmt::format("between {} and {}", min, max);
      throw invalid(std::string(name), fmt::format("{} must be a whole number {}, not {}", name, range, shown(*value)));
    }
    return number;
  }
  bool boolean(std::string_view name) {
    const Json* value = take(name);
    if (value == nullptr) return false;
    if (!value->is_boolean())
      throw invalid(std::string(name), fmt::format("{} must be true or false, not {}", name, shown(*value)));
    return value->get<bool>();
  }
  // Whether the field has this neutral value; then it is done.
  template <class Neutral>
  bool take_neutral(std::string_view name, Neutral neutral) {
    const Json* value = take(name);
    return value != nullptr && neutral(*value);
  }
  // A field that is accepted only with a value that changes nothing.
  template <class Neutral>
  void only(std::string_view name, Neutral neutral, std::string_view what) {
    const Json* value = take(name);
    if (value != nullptr && !neutral(*value))
      throw unsupported(std::string(name), fmt::format("{} is not supported: {}", name, what));
  }
  void refuse_the_rest() const {
    for (const auto& [name, value] : body_.items())
      if (!value.is_null() && std::find(seen_.begin(), seen_.end(), name) == seen_.end())
        throw unsupported(printable(name, 100), fmt::format("{} is not supported", printable(name, 100)));
  }
  static std::string shown(const Json& value) {
    return printable(value.dump(-1, ' ', false, Json::error_handler_t::replace), 80);
  }
  static constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();

 private:
  const Json& body_;
  std::vector<std::string> seen_;
};

// Text, or an array of text parts.
std::string content_text(const Json& content, const std::string& where) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) throw invalid(where, fmt::format("{} must be a text or an array of text parts", where));
  std::string text;
  for (const Json& part : content) {
    const auto type = part.is_object() ? part.find("type") : part.end();
    if (!part.is_object() || type == part.end() || !type->is_string())
      throw invalid(where, fmt::format("{} has a part without a type", where));
    if (type->get<std::string>() != "text")
      throw unsupported(where, fmt::format("{} has a part of type '{}': only text is supported", where,
                                           printable(type->get<std::string>(), 60)));
    const auto value = part.find("text");
    if (value == part.end() || !value->is_string())
      throw invalid(where, fmt::format("{} has a text part without text", where));
    text += value->get<std::string>();
  }
  return text;
}

// What clients send along that was never filled.
bool says_nothing(const Json& value) {
  return value.is_null() || ((value.is_array() || value.is_object()) && value.empty()) || value == "";
}

ChatMessage message_of(const Json& message, std::size_t index) {
  const std::string where = fmt::format("messages[{}]", index);
  if (!message.is_object()) throw invalid(where, fmt::format("{} must be an object", where));
  ChatMessage out;
  bool has_content = false;
  for (const auto& [name, value] : message.items()) {
    if (name == "role") {
      if (!value.is_string()) throw invalid(where + ".role", fmt::format("{}.role must be a text", where));
      out.role = value.get<std::string>();
    } else if (name == "content") {
      if (value.is_null()) continue;
      out.content = content_text(value, where + ".content");
      has_content = true;
    } else if (name == "name") {
      if (value.is_null()) continue;
      if (!value.is_string()) throw invalid(where + ".name", fmt::format("{}.name must be a text", where));
      out.name = value.get<std::string>();
    } else if (!says_nothing(value)) {
      throw unsupported(where + "." + printable(name, 60),
                        fmt::format("{}.{} is not supported", where, printable(name, 60)));
    }
  }
  if (out.role.empty()) throw invalid(where + ".role", fmt::format("{} has no role", where));
  if (out.role == "developer") out.role = "system";
  if (out.role != "system" && out.role != "user" && out.role != "assistant")
    throw unsupported(where + ".role", fmt::format("{}.role '{}' is not supported: only system, user and assistant are",
                                                   where, printable(out.role, 60)));
  if (!has_content) throw invalid(where + ".content", fmt::format("{} has no content", where));
  return out;
}

void parse_messages(Body& body, BatchRequest& request) {
  const Json* messages = body.take("messages");
  if (messages == nullptr) throw RefusedRequest{400, "messages is missing", "messages", "missing_required_parameter"};
  if (!messages->is_array() || messages->empty())
    throw invalid("messages", "messages must be an array of at least one message");
  for (std::size_t i = 0; i < messages->size(); ++i) request.messages.push_back(message_of((*messages)[i], i));
}

std::vector<std::int32_t> token_ids(const Json& array) {
  std::vector<std::int32_t> ids;
  ids.reserve(array.size());
  for (const Json& id : array) {
    const std::optional<std::int64_t> number = whole_number(id);
    if (!number || *number < 0 || *number > std::numeric_limits<std::int32_t>::max())
      throw invalid("prompt",
                    fmt::format("prompt must be a text or an array of token ids; {} is no token id", Body::shown(id)));
    ids.push_back(static_cast<std::int32_t>(*number));
  }
  return ids;
}

void parse_prompt(Body& body, BatchRequest& request) {
  const Json* prompt = body.take("prompt");
  if (prompt == nullptr) throw RefusedRequest{400, "prompt is missing", "prompt", "missing_required_parameter"};
  if (prompt->is_array() && !prompt->empty() && (prompt->front().is_string() || prompt->front().is_array())) {
    if (prompt->size() > 1)
      throw unsupported("prompt",
                        fmt::format("prompt holds {} prompts: only one per request is supported", prompt->size()));
    prompt = &prompt->front();
  }
  if (prompt->is_string())
    request.prompt = prompt->get<std::string>();
  else if (prompt->is_array())
    request.prompt = token_ids(*prompt);
  else
    throw invalid("prompt", "prompt must be a text or an array of token ids");
}

void parse_stop(Body& body, BatchRequest& request) {
  const Json* stop = body.take("stop");
  if (stop == nullptr) return;
  if (stop->is_string()) {
    request.stop = {stop->get<std::string>()};
    return;
  }
  if (!stop->is_array() || !std::all_of(stop->begin(), stop->end(), [](const Json& s) { return s.is_string(); }))
    throw invalid("stop", "stop must be a text or an array of texts");
  if (stop->size() > kMaxStops)
    throw invalid("stop", fmt::format("stop holds {} texts: at most {} are allowed", stop->size(), kMaxStops));
  request.stop = stop->get<std::vector<std::string>>();
}

void parse_max_tokens(Body& body, BatchRequest& request) {
  const std::int64_t least = request.chat ? 1 : 0;
  const auto old_name = body.integer("max_tokens", least, Body::kAny);
  const auto new_name = request.chat ? body.integer("max_completion_tokens", least, Body::kAny) : std::nullopt;
  if (old_name && new_name && *old_name != *new_name)
    throw invalid("max_tokens", fmt::format("max_tokens {} and max_completion_tokens {} differ", *old_name, *new_name));
  request.max_tokens = new_name ? new_name : old_name;
}

void parse_logprobs(Body& body, BatchRequest& request) {
  if (!request.chat) {
    if (body.take_neutral("logprobs", [](const Json& value) { return value == false; })) return;
    request.n_logprobs = body.integer("logprobs", 0, kMaxTopLogprobs).value_or(-1);
    return;
  }
  const bool wanted = body.boolean("logprobs");
  const auto top = body.integer("top_logprobs", 0, kMaxTopLogprobs);
  if (top.value_or(0) > 0 && !wanted) throw invalid("top_logprobs", "top_logprobs needs logprobs to be true");
  if (wanted) request.n_logprobs = top.value_or(0);
}

// Fields that are accepted with the one value that asks for nothing, and why no other is.
struct NeutralField {
  std::string_view name;
  bool (*neutral)(const Json& value);
  std::string_view what;
  enum class Of { kAll, kChats, kCompletions } of = Of::kAll;
};

bool is_empty(const Json& value) { return value.empty() || value == ""; }
bool is_zero(const Json& value) { return value == 0; }
bool is_one(const Json& value) { return value == 1; }
bool is_false(const Json& value) { return value == false; }
bool is_true(const Json& value) { return value == true; }
bool is_boolean(const Json& value) { return value.is_boolean(); }
bool is_none_or_auto(const Json& value) { return value == "none" || value == "auto"; }
bool is_text_format(const Json& value) {
  return value.is_object() && value.size() == 1 && value.value("type", Json()) == "text";
}
bool is_text_only(const Json& value) { return value == Json::array({"text"}); }
// Usage is always told, on the one line that there is.
bool is_usage(const Json& value) {
  return value.is_object() && (value.empty() || (value.size() == 1 && value.contains("include_usage")));
}

constexpr NeutralField kNeutralFields[] = {
    {"n", is_one, "only one choice per request is made"},
    {"stream", is_false, "a batch does not stream"},
    {"stream_options", is_usage, "a batch does not stream"},
    {"logit_bias", is_empty, "logits are not biased"},
    {"best_of", is_one, "only one choice per request is made", NeutralField::Of::kCompletions},
    {"suffix", is_empty, "text is completed at its end", NeutralField::Of::kCompletions},
    {"response_format", is_text_format, "only {\"type\": \"text\"} is"},
    {"tools", is_empty, "there are no tools", NeutralField::Of::kChats},
    {"functions", is_empty, "there are no functions", NeutralField::Of::kChats},
    {"tool_choice", is_none_or_auto, "there are no tools", NeutralField::Of::kChats},
    {"function_call", is_none_or_auto, "there are no functions", NeutralField::Of::kChats},
    {"parallel_tool_calls", is_boolean, "there are no tools", NeutralField::Of::kChats},
    {"modalities", is_text_only, "only text is made", NeutralField::Of::kChats},
    {"chat_template_kwargs", is_empty, "the template gets nothing but messages; thinking is set for the whole batch",
     NeutralField::Of::kChats},
    {"add_generation_prompt", is_true, "the assistant's turn is always opened", NeutralField::Of::kChats},
    {"continue_final_message", is_false, "the assistant's turn is always opened", NeutralField::Of::kChats},
    // Of vLLM's and llama.cpp's servers.
    {"repetition_penalty", is_one, "frequency_penalty and presence_penalty are"},
    {"repeat_penalty", is_one, "frequency_penalty and presence_penalty are"},
    {"length_penalty", is_one, "there is no beam search"},
    {"use_beam_search", is_false, "there is no beam search"},
    {"ignore_eos", is_false, "a text ends where the model ends it"},
    {"min_tokens", is_zero, "a text ends where the model ends it"},
    {"stop_token_ids", is_empty, "stop takes texts"},
    {"include_stop_str_in_output", is_false, "a text ends before its stop text"},
    {"skip_special_tokens", is_true, "control tokens are no text"},
    {"spaces_between_special_tokens", is_boolean, "control tokens are no text"},
};

// Fields that change no result, whatever they hold: who asked, and how the service should go about it.
constexpr std::string_view kIdleFields[] = {"user",
                                            "metadata",
                                            "store",
                                            "service_tier",
                                            "safety_identifier",
                                            "prompt_cache_key",
                                            "prompt_cache_retention",
                                            "cache_prompt"};

void parse_neutral_fields(Body& body, bool chat) {
  const auto other = chat ? NeutralField::Of::kCompletions : NeutralField::Of::kChats;
  for (const NeutralField& field : kNeutralFields)
    if (field.of != other) body.only(field.name, field.neutral, field.what);
  for (const std::string_view name : kIdleFields) body.take(name);
}

BatchRequest parse_body(const Json& json, bool chat, const SamplerOptions& defaults, std::uint64_t default_seed) {
  BatchRequest request;
  request.chat = chat;
  request.sampling = defaults;
  Body body(json);
  if (const Json* model = body.take("model")) {
    if (!model->is_string()) throw invalid("model", fmt::format("model must be a text, not {}", Body::shown(*model)));
    request.model = model->get<std::string>();
  }
  chat ? parse_messages(body, request) : parse_prompt(body, request);
  parse_max_tokens(body, request);
  parse_stop(body, request);
  parse_logprobs(body, request);
  if (!chat) request.echo = body.boolean("echo");
  SamplerOptions& sampling = request.sampling;
  body.number("temperature", 0, 1e6, [&](double x) { sampling.temperature = x; });
  body.number("top_p", 0, 1, [&](double x) { sampling.top_p = x; });
  body.number("min_p", 0, 1, [&](double x) { sampling.min_p = x; });
  body.number("frequency_penalty", -2, 2, [&](double x) { sampling.frequency_penalty = x; });
  body.number("presence_penalty", -2, 2, [&](double x) { sampling.presence_penalty = x; });
  sampling.top_k = body.integer("top_k", -1, Body::kAny).value_or(sampling.top_k);
  const auto seed = body.integer("seed", std::numeric_limits<std::int64_t>::min(), Body::kAny);
  sampling.seed = seed ? static_cast<std::uint64_t>(*seed) : default_seed;
  parse_neutral_fields(body, chat);
  body.refuse_the_rest();
  return request;
}

Json parse_object(std::string_view line) {
  Json json = parse_json(line, "the line");
  if (!json.is_object()) throw Error(ErrorKind::kBadRequest, "the line is not a JSON object");
  return json;
}

}  // namespace

std::optional<std::string> custom_id_of(std::string_view line) {
  try {
    const Json json = parse_object(line);
    if (const auto it = json.find("custom_id"); it != json.end() && it->is_string()) return it->get<std::string>();
  } catch (const Error&) {
  }
  return std::nullopt;
}

ParsedLine parse_line(std::string_view line, const SamplerOptions& defaults) {
  ParsedLine parsed;
  Json json;
  try {
    json = parse_object(line);
  } catch (const Error& error) {
    parsed.what = MalformedLine{"invalid_json_line", error.sentence()};
    return parsed;
  }
  const auto custom_id = json.find("custom_id");
  if (custom_id == json.end() || !custom_id->is_string()) {
    parsed.what = MalformedLine{"missing_required_parameter", "custom_id is missing or not a text"};
    return parsed;
  }
  parsed.custom_id = custom_id->get<std::string>();
  try {
    if (const auto method = json.find("method"); method == json.end() || *method != "POST")
      throw RefusedRequest{400, "method must be POST", "method", "invalid_method"};
    const auto url = json.find("url");
    if (url == json.end() || (*url != "/v1/chat/completions" && *url != "/v1/completions"))
      throw RefusedRequest{400,
                           fmt::format("url {} is not supported: only /v1/chat/completions and /v1/completions are",
                                       url == json.end() ? "(missing)" : Body::shown(*url)),
                           "url", "invalid_url"};
    const auto body = json.find("body");
    if (body == json.end() || !body->is_object()) throw invalid("body", "body is missing or not an object");
    const std::uint64_t seed = fnv1a(parsed.custom_id) ^ (defaults.seed * 0x9e3779b97f4a7c15u);
    parsed.what = parse_body(*body, *url == "/v1/chat/completions", defaults, seed);
  } catch (const RefusedRequest& refused) {
    parsed.what = refused;
  }
  return parsed;
}

}  // namespace dodeca::runtime::batch
