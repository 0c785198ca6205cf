#include "runtime/batch/request.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/base/hash.hpp"
#include "runtime/base/printable.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::int64_t kMaxTopLogprobs = 20, kMaxStops = 16;

RefusedRequest invalid(std::string param, std::string message) {
  return {400, std::move(message), std::move(param), "invalid_value"};
}
RefusedRequest unsupported(std::string param, std::string message) {
  return {400, std::move(message), std::move(param), "unsupported_parameter"};
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
    const bool fits = value->is_number_integer() &&
                      !(value->is_number_unsigned() && value->get<std::uint64_t>() > static_cast<std::uint64_t>(kAny));
    if (!fits || value->get<std::int64_t>() < min || value->get<std::int64_t>() > max) {
      const std::string range =
          max == kAny ? fmt::format("of at least {}", min) : fmt::format("between {} and {}", min, max);
      throw invalid(std::string(name), fmt::format("{} must be a whole number {}, not {}", name, range, shown(*value)));
    }
    return value->get<std::int64_t>();
  }
  bool boolean(std::string_view name) {
    const Json* value = take(name);
    if (value == nullptr) return false;
    if (!value->is_boolean())
      throw invalid(std::string(name), fmt::format("{} must be true or false, not {}", name, shown(*value)));
    return value->get<bool>();
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
    } else if (!value.is_null() && !(value.is_array() && value.empty())) {
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
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 ||
        id.get<std::int64_t>() > std::numeric_limits<std::int32_t>::max())
      throw invalid("prompt",
                    fmt::format("prompt must be a text or an array of token ids; {} is no token id", Body::shown(id)));
    ids.push_back(static_cast<std::int32_t>(id.get<std::int64_t>()));
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
    request.n_logprobs = body.integer("logprobs", 0, kMaxTopLogprobs).value_or(-1);
    return;
  }
  const bool wanted = body.boolean("logprobs");
  const auto top = body.integer("top_logprobs", 0, kMaxTopLogprobs);
  if (top && !wanted) throw invalid("top_logprobs", "top_logprobs needs logprobs to be true");
  if (wanted) request.n_logprobs = top.value_or(0);
}

void parse_neutral_fields(Body& body, bool chat) {
  const auto empty = [](const Json& value) { return value.empty(); };
  const auto one = [](const Json& value) { return value == 1; };
  const auto no = [](const Json& value) { return value == false; };
  body.only("n", one, "only one choice per request is made");
  body.only("stream", no, "a batch does not stream");
  body.only("stream_options", empty, "a batch does not stream");
  body.only(
      "logit_bias", [](const Json& value) { return value.is_object() && value.empty(); }, "logits are not biased");
  body.only("store", no, "nothing is stored");
  body.take("user");  // says who asked; changes nothing
  body.take("metadata");
  if (!chat) {
    body.only("best_of", one, "only one choice per request is made");
    body.only(
        "suffix", [](const Json& value) { return value == ""; }, "text is completed at its end");
    return;
  }
  body.only(
      "response_format",
      [](const Json& value) { return value.is_object() && value.size() == 1 && value.value("type", Json()) == "text"; },
      "only {\"type\": \"text\"} is");
  body.only(
      "tools", [](const Json& value) { return value.is_array() && value.empty(); }, "there are no tools");
  body.only(
      "functions", [](const Json& value) { return value.is_array() && value.empty(); }, "there are no functions");
  body.only(
      "tool_choice", [](const Json& value) { return value == "none" || value == "auto"; }, "there are no tools");
  body.only(
      "function_call", [](const Json& value) { return value == "none" || value == "auto"; }, "there are no functions");
  body.only(
      "parallel_tool_calls", [](const Json& value) { return value.is_boolean(); }, "there are no tools");
  body.only(
      "modalities", [](const Json& value) { return value == Json::array({"text"}); }, "only text is made");
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

}  // namespace dodeca::runtime
