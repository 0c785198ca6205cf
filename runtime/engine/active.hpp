// What the engine keeps of a request, and of a sequence of the cache; for engine.cpp and engine_drafts.cpp.
#pragma once

#include "runtime/engine/engine.hpp"
#include "runtime/engine/stop_matcher.hpp"

namespace dodeca::runtime::engine {

struct Engine::Active {
  RequestId id = 0;
  Request request;
  OnToken on_token;
  std::vector<std::int32_t> tokens;  // prompt and sampled
  std::int64_t n_prompt = 0;
  bool is_short = false;      // the rest of the prompt goes as generated rows
  std::int64_t computed = 0;  // of tokens, in the cache
  std::int64_t n_rows = 0;    // in this step, without those of drafts
  std::int32_t slot = -1;
  bool started = false;  // false: may wait for another sequence to compute the common prefix
  bool cancelled = false, done = false;
  Sampler sampler;
  StopMatcher stops;
  std::vector<TokenInfo> prompt_infos;
  std::vector<std::int32_t> drafts;  // of the tokens behind the last one, verified in the next step
  std::int64_t n_accepted = 0;       // of them, in this step
  std::size_t logits_row = 0;        // of the last row without drafts, in this step
  DraftTrail trail;

  explicit Active(Request r) : request(std::move(r)), sampler(request.sampling), stops(request.stop) {
    tokens = request.prompt;
    n_prompt = static_cast<std::int64_t>(tokens.size());
    for (const std::int32_t token : tokens) sampler.accept(token);
  }
  std::int64_t n_prompt_rows() const { return is_short ? 0 : std::min(computed, n_prompt); }
  std::int64_t n_generated() const { return static_cast<std::int64_t>(tokens.size()) - n_prompt; }
  bool in_prompt() const { return computed < n_prompt; }
  // What another cache can give: the last token's row must be computed for its logits.
  std::span<const std::int32_t> sharable() const {
    return std::span(tokens).first(request.prompt_logprobs ? 0 : tokens.size() - 1);
  }
};

// One sequence of the cache: used by an active request, or keeping what a finished one left.
struct Engine::Slot {
  const Active* owner = nullptr;
  std::vector<std::int32_t> kept;
  std::uint64_t last_used = 0;
  std::int64_t n_prompt = 0;  // of kept, computed as prompt rows
  DraftTrail trail;
};

}  // namespace dodeca::runtime::engine
