#include "runtime/batch/answering.hpp"

#include <memory>
#include <utility>

#include "runtime/base/error.hpp"
#include "runtime/batch/response.hpp"

namespace dodeca::runtime::batch {
namespace {

constexpr std::int64_t kDefaultCompletionTokens = 16;

// What the engine is asked. Notes in `generated` what of the prompt the result will hold.
engine::Request engine_request(const BatchRequest& asked, const BatchText& text, Generated& generated,
                               std::int64_t max_tokens) {
  engine::Request request;
  const auto* const prompt = std::get_if<std::string>(&asked.prompt);
  if (asked.chat)
    request.prompt = text.encode_chat(asked.messages);
  else if (prompt != nullptr)
    request.prompt = text.encode(*prompt);
  else
    request.prompt = std::get<std::vector<std::int32_t>>(asked.prompt);
  generated.n_prompt = std::ssize(request.prompt);
  if (asked.echo) {
    if (prompt != nullptr)
      generated.echoed = *prompt;
    else
      for (const std::int32_t id : request.prompt) generated.echoed += text.piece(id);
  }
  request.sampling = asked.sampling;
  request.max_tokens = asked.max_tokens.value_or(max_tokens >= 0 || asked.chat ? max_tokens : kDefaultCompletionTokens);
  request.stop = asked.stop;
  request.n_logprobs = asked.n_logprobs;
  request.prompt_logprobs = asked.echo && asked.n_logprobs >= 0;
  return request;
}

}  // namespace

std::optional<engine::RequestId> Answering::submit(engine::Engine& engine, const BatchText& text, const InputLine& line,
                                                   const OnAnswer& on_answer) const {
  ParsedLine parsed = parse_line(input_.read(line), options_.sampling);
  const LineIdentity identity{line.id, parsed.custom_id, options_.model_name, created_};
  if (const auto* malformed = std::get_if<MalformedLine>(&parsed.what)) {
    on_answer(malformed_line(line.id, line.number, *malformed), true);
    return std::nullopt;
  }
  if (const auto* refused = std::get_if<RefusedRequest>(&parsed.what)) {
    on_answer(refusal_line(identity, *refused), true);
    return std::nullopt;
  }
  struct Work {
    LineIdentity identity;
    BatchRequest request;
    Generated generated;
  };
  const auto work = std::make_shared<Work>(Work{identity, std::get<BatchRequest>(std::move(parsed.what)), {}});
  BatchRequest& asked = work->request;
  if (!asked.model.empty()) work->identity.model = asked.model;
  const char* const param = asked.chat ? "messages" : "prompt";
  try {
    engine::Request request = engine_request(asked, text, work->generated, options_.max_tokens);
    asked.messages.clear();
    asked.prompt = std::string();
    return engine.submit(std::move(request), [work, on_answer, piece = text.piece](const engine::Event& event) {
      Generated& generated = work->generated;
      if (event.prompt != nullptr) generated.prompt = *event.prompt;
      if (event.token != nullptr) generated.tokens.push_back(*event.token);
      generated.text += event.text;
      generated.finish = event.finish;
      if (event.finish != engine::FinishReason::kNone && event.finish != engine::FinishReason::kCancelled)
        on_answer(result_line(work->identity, work->request, generated, piece), false);
    });
  } catch (const Error& error) {
    // A template or a pre-tokenizer may reach its limits with these texts alone: no reason to leave the others.
    if (error.kind() == ErrorKind::kBadFile || error.kind() == ErrorKind::kIo) throw;
    const bool too_long = error.kind() == ErrorKind::kDoesNotFit;
    on_answer(refusal_line(work->identity,
                           {400, error.sentence(), param, too_long ? "context_length_exceeded" : "invalid_value"}),
              true);
    return std::nullopt;
  }
}

bool fill(engine::Engine& engine, std::int64_t n_parallel, const std::function<Submitted()>& submit_next,
          const std::function<bool()>& settled) {
  const std::size_t wanted = static_cast<std::size_t>(n_parallel) + 1;
  while (engine.n_active() + engine.n_queued() < wanted) {
    const Submitted submitted = submit_next();
    if (submitted == Submitted::kNone) break;
    if (submitted == Submitted::kAnswered && !settled()) return false;
  }
  return true;
}

bool step_unless_stopped(engine::Engine& engine, bool& working) {
  try {
    working = engine.step();
    return true;
  } catch (const Stopped&) {
    return false;
  }
}

}  // namespace dodeca::runtime::batch
