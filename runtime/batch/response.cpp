#include "runtime/batch/response.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/text/tokenizer.hpp"

namespace dodeca::runtime::batch {
namespace {

using engine::FinishReason;

constexpr float kLowestLogprob = -9999.0f;  // JSON has no infinity; OpenAI writes this
constexpr std::string_view kIdPrefix = "batch_req_";
constexpr int kAnswered = 200;  // the status of a result

// Bytes as text: what is no UTF-8 becomes U+FFFD.
std::string valid_text(std::string_view bytes) {
  Utf8Stream stream;
  std::string text = stream.take(bytes);
  return text + stream.flush();
}

double logprob_value(float logprob) { return std::max(logprob, kLowestLogprob); }

Json bytes_of(std::string_view text) {
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

// Tokens that reach into the shown text: not those of the stop text, not the one that ended the generation.
std::size_t n_shown_tokens(const Generated& generated, const std::function<std::string(std::int32_t)>& piece) {
  if (generated.finish == FinishReason::kEndOfGeneration) return generated.tokens.size() - 1;
  if (generated.finish != FinishReason::kStopText) return generated.tokens.size();
  std::size_t bytes = 0, n = 0;
  for (; n < generated.tokens.size() && bytes < generated.text.size(); ++n)
    bytes += piece(generated.tokens[n].token).size();
  return n;
}

Json chat_logprobs(const Generated& generated, const std::function<std::string(std::int32_t)>& piece) {
  const auto entry = [&](std::int32_t token, float logprob) {
    const std::string bytes = piece(token);
    return Json{{"token", valid_text(bytes)}, {"logprob", logprob_value(logprob)}, {"bytes", bytes_of(bytes)}};
  };
  Json content = Json::array();
  const std::size_t n = n_shown_tokens(generated, piece);
  for (std::size_t i = 0; i < n; ++i) {
    const engine::TokenInfo& info = generated.tokens[i];
    Json item = entry(info.token, info.logprob);
    item["top_logprobs"] = Json::array();
    for (const TokenLogprob& top : info.top) item["top_logprobs"].push_back(entry(top.token, top.logprob));
    content.push_back(std::move(item));
  }
  return Json{{"content", std::move(content)}, {"refusal", nullptr}};
}

Json completion_logprobs(const Generated& generated, const std::function<std::string(std::int32_t)>& piece) {
  Json tokens = Json::array(), values = Json::array(), tops = Json::array(), offsets = Json::array();
  std::size_t offset = 0;  // in characters of the text
  const auto add = [&](const engine::TokenInfo& info, bool known) {
    const std::string text = valid_text(piece(info.token));
    tokens.push_back(text);
    offsets.push_back(offset);
    offset +=
        static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
    values.push_back(known ? Json(logprob_value(info.logprob)) : Json());
    Json top = Json::object();
    // Two tokens may be the same text; the likelier one keeps the place.
    for (const TokenLogprob& entry : info.top)
      top.emplace(valid_text(piece(entry.token)), logprob_value(entry.logprob));
    tops.push_back(known ? std::move(top) : Json());
  };
  for (std::size_t i = 0; i < generated.prompt.size(); ++i) add(generated.prompt[i], i > 0);
  const std::size_t n = n_shown_tokens(generated, piece);
  for (std::size_t i = 0; i < n; ++i) add(generated.tokens[i], true);
  return Json{{"tokens", std::move(tokens)},
              {"token_logprobs", std::move(values)},
              {"top_logprobs", std::move(tops)},
              {"text_offset", std::move(offsets)}};
}

std::string suffix_of(const std::string& id) { return id.substr(std::min(id.size(), kIdPrefix.size())); }

std::string as_line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

std::string response_line(const LineIdentity& identity, int status, Json body) {
  return as_line(
      Json{{"id", identity.id},
           {"custom_id", identity.custom_id},
           {"response",
            {{"status_code", status}, {"request_id", "req_" + suffix_of(identity.id)}, {"body", std::move(body)}}},
           {"error", nullptr}});
}

}  // namespace

std::string result_line(const LineIdentity& identity, const BatchRequest& request, const Generated& generated,
                        const std::function<std::string(std::int32_t)>& piece) {
  const bool at_end = generated.finish == FinishReason::kEndOfGeneration || generated.finish == FinishReason::kStopText;
  const std::string text = valid_text(generated.echoed + generated.text);
  Json logprobs = nullptr;
  if (request.n_logprobs >= 0)
    logprobs = request.chat ? chat_logprobs(generated, piece) : completion_logprobs(generated, piece);
  Json choice;
  choice["index"] = 0;
  if (request.chat)
    choice["message"] = Json{{"role", "assistant"}, {"content", text}, {"refusal", nullptr}};
  else
    choice["text"] = text;
  choice["logprobs"] = std::move(logprobs);
  choice["finish_reason"] = at_end ? "stop" : "length";
  const auto n_completion = static_cast<std::int64_t>(generated.tokens.size());
  return response_line(identity, kAnswered,
                       Json{{"id", (request.chat ? "chatcmpl-" : "cmpl-") + suffix_of(identity.id)},
                            {"object", request.chat ? "chat.completion" : "text_completion"},
                            {"created", identity.created},
                            {"model", identity.model},
                            {"choices", Json::array({std::move(choice)})},
                            {"usage",
                             {{"prompt_tokens", generated.n_prompt},
                              {"completion_tokens", n_completion},
                              {"total_tokens", generated.n_prompt + n_completion}}}});
}

std::string refusal_line(const LineIdentity& identity, const RefusedRequest& refused) {
  return response_line(identity, refused.status,
                       Json{{"error",
                             {{"message", refused.message},
                              {"type", "invalid_request_error"},
                              {"param", refused.param.empty() ? Json() : Json(refused.param)},
                              {"code", refused.code}}}});
}

std::string malformed_line(const std::string& id, std::int64_t line_number, const MalformedLine& malformed) {
  return as_line(Json{{"id", id},
                      {"custom_id", nullptr},
                      {"response", nullptr},
                      {"error",
                       {{"code", malformed.code},
                        {"message", fmt::format("line {}: {}", line_number, malformed.message)},
                        {"line", line_number}}}});
}

OutputLine parse_output_line(std::string_view line) {
  const Json json = Json::parse(line, nullptr, false);
  if (!json.is_object()) return {};
  const auto id = json.find("id"), response = json.find("response");
  if (id == json.end() || !id->is_string() || !json.contains("custom_id") || response == json.end()) return {};
  std::string text = id->get<std::string>();
  if (!text.starts_with(kIdPrefix)) return {};
  const bool answered =
      response->is_object() && response->contains("status_code") && response->at("status_code") == kAnswered;
  return {std::move(text), !answered};
}

}  // namespace dodeca::runtime::batch
