#include "runtime/engine/engine.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>

#include "runtime/base/error.hpp"
#include "runtime/engine/active.hpp"
#include "runtime/text/tokenizer.hpp"

namespace dodeca::runtime::engine {
namespace {

// Shorter common beginnings (a BOS, a turn marker) are not worth a wait or a fork.
constexpr std::int64_t kMinShared = 16;
// Prompt rows per step when each of them wants logits: bounds the logits' memory.
constexpr std::int64_t kLogitsRows = 64;

std::int64_t common_prefix(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

TokenInfo info_of(const SampledRow& row) {
  if (row.error) std::rethrow_exception(row.error);
  return {row.token, row.logprobs.chosen, row.logprobs.top};
}

}  // namespace

Vocabulary vocabulary_of(const Tokenizer& tokenizer, std::int64_t vocab_size) {
  Vocabulary vocabulary;
  const std::int64_t n = std::min(vocab_size, tokenizer.vocab_size());
  vocabulary.piece = [&tokenizer, n](std::int32_t id) { return id < n ? tokenizer.piece(id) : std::string(); };
  for (std::int64_t id = 0; id < n; ++id)
    if (tokenizer.is_end_of_generation(static_cast<TokenId>(id)))
      vocabulary.end_tokens.push_back(static_cast<std::int32_t>(id));
  return vocabulary;
}

std::int32_t Engine::sequences_for(std::int32_t n_parallel) { return 2 * n_parallel + 4; }

Engine::Engine(ForwardPass& pass, Vocabulary vocabulary, const EngineOptions& options)
    : pass_(pass),
      vocabulary_(std::move(vocabulary)),
      options_(options),
      slots_(pass.n_sequences()),
      width_(options.drafts.n > 0 ? pass.hidden_size() : 0),
      control_(options.drafts.n, options.drafts.measures) {
  const std::int64_t block = pass.block_positions();
  const std::int64_t need = options.n_parallel * ((options.context + block - 1) / block * block);
  if (pass.n_sequences() < options.n_parallel || pass.free_positions() < need)
    throw Error(
        ErrorKind::kDoesNotFit,
        fmt::format("{} sequences of {} positions need a cache of {} sequences and {} positions; it has {} and {}",
                    options.n_parallel, options.context, options.n_parallel, need, pass.n_sequences(),
                    pass.free_positions()));
}

Engine::~Engine() { pass_.rest(); }

RequestId Engine::submit(Request request, OnToken on_token) {
  const auto n_prompt = static_cast<std::int64_t>(request.prompt.size());
  if (n_prompt == 0) throw Error(ErrorKind::kBadRequest, "the prompt is empty: at least one token is needed");
  for (const std::int32_t token : request.prompt)
    if (token < 0 || token >= pass_.vocab_size())
      throw Error(ErrorKind::kBadRequest,
                  fmt::format("token id {} is outside the vocabulary of {}", token, pass_.vocab_size()));
  if (n_prompt + (request.max_tokens == 0 ? 0 : 1) > options_.context)
    throw Error(ErrorKind::kDoesNotFit,
                fmt::format("the prompt has {} tokens, the context holds {}", n_prompt, options_.context));
  auto active = std::make_unique<Active>(std::move(request));
  active->id = next_id_++;
  active->on_token = std::move(on_token);
  active->trail = DraftTrail(width_);
  queue_.push_back(std::move(active));
  return queue_.back()->id;
}

void Engine::cancel(RequestId request) {
  for (const auto& active : active_)
    if (active->id == request) active->cancelled = true;
  const auto queued = std::find_if(queue_.begin(), queue_.end(), [&](const auto& q) { return q->id == request; });
  if (queued == queue_.end()) return;
  const std::unique_ptr<Active> active = std::move(*queued);
  queue_.erase(queued);
  finish(*active, FinishReason::kCancelled, nullptr, "");
}

bool Engine::step() {
  sweep();
  while (admit()) {
  }
  if (active_.empty()) return false;
  share_rows();
  make_room();
  choose_drafts();
  build_rows();
  const bool prompt =
      std::any_of(active_.begin(), active_.end(), [](const auto& a) { return a->n_rows > 0 && a->in_prompt(); });
  const std::int64_t n_before = stats_.generated_tokens;
  const auto begin = std::chrono::steady_clock::now();
  pass_.forward(rows_, output_, prompt);
  sample();
  std::size_t next_sampled = 0;
  // By index: a callback may submit, but nothing is added to or removed from active_ before the sweep.
  for (std::size_t i = 0; i < active_.size(); ++i)
    if (active_[i]->n_rows > 0) process(*active_[i], next_sampled);
  verify();
  draft(prompt);
  ++stats_.steps;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  (prompt ? stats_.prompt_seconds : stats_.generation_seconds) += seconds;
  note_step(prompt, stats_.generated_tokens - n_before, seconds);
  sweep();
  if (active_.empty() && queue_.empty()) pass_.rest();
  return true;
}

// Moves the oldest queued request to a sequence; false when none waits or no place is free.
bool Engine::admit() {
  if (queue_.empty() || active_.size() >= static_cast<std::size_t>(options_.n_parallel)) return false;
  std::unique_ptr<Active> active = std::move(queue_.front());
  queue_.pop_front();
  if (active->request.max_tokens == 0 && !active->request.prompt_logprobs) {
    finish(*active, FinishReason::kMaxTokens, nullptr, "");
    return true;
  }
  active->slot = take_slot(find_kept(active->sharable()).sequence);
  slots_[active->slot].owner = active.get();
  active_.push_back(std::move(active));
  return true;
}

// An unused sequence, emptied: one that keeps nothing, else the least recently used, and `except` only when there is no
// other.
std::int32_t Engine::take_slot(std::int32_t except) {
  std::int32_t best = -1;
  const auto rank = [&](std::int32_t s) {
    const Slot& slot = slots_[s];
    return std::pair(s == except, slot.kept.empty() ? 0 : slot.last_used);
  };
  for (std::int32_t s = 0; s < static_cast<std::int32_t>(slots_.size()); ++s)
    if (slots_[s].owner == nullptr && (best < 0 || rank(s) < rank(best))) best = s;
  if (best < 0)
    throw Error(ErrorKind::kDoesNotFit, "no sequence of the cache is free").with("sequences", slots_.size());
  pass_.truncate(best, 0);
  slots_[best].kept.clear();
  slots_[best].trail = DraftTrail(width_);
  return best;
}

// What of a request's cache others may begin with.
std::span<const std::int32_t> Engine::sharing(const Active& active) const {
  const std::int64_t n = options_.share_generated ? active.computed : std::min(active.computed, active.n_prompt);
  return std::span(active.tokens).first(n);
}

Engine::Kept Engine::find_kept(std::span<const std::int32_t> tokens) const {
  Kept best;
  for (std::size_t s = 0; s < slots_.size(); ++s)
    if (const std::int64_t n =
            common_prefix(tokens, slots_[s].owner != nullptr ? sharing(*slots_[s].owner) : slots_[s].kept);
        n > best.n)
      best = {static_cast<std::int32_t>(s), n};
  return best;
}

// Takes over the longest prefix that is in the cache, or leaves the request waiting while one admitted earlier computes
// a longer one.
void Engine::start(Active& active) {
  const std::span<const std::int32_t> wanted = active.sharable();
  Kept source = find_kept(wanted);
  for (const auto& other : active_) {
    if (other.get() == &active) break;
    const std::int64_t shared = common_prefix(wanted, std::span(other->tokens).first(other->n_prompt));
    if (!other->cancelled && other->computed < shared && shared >= source.n + kMinShared) return;
  }
  active.started = true;
  if (source.n < kMinShared) return;
  if (repeats_last(active, source)) --source.n;
  const std::int64_t block = pass_.block_positions();
  while (source.n % block != 0 && pass_.free_positions() < block)
    if (!evict_kept(source.sequence)) source.n -= source.n % block;
  pass_.fork(source.sequence, active.slot, source.n);
  start_trail(active, source);
  slots_[source.sequence].last_used = ++clock_;
  active.computed = source.n;
  stats_.reused_tokens += source.n;
}

// A row for every generating sequence; prompt rows in order of admission as far as the batch goes.
void Engine::share_rows() {
  std::int64_t n_generating = 0;
  for (const auto& active : active_) {
    active->n_rows = 0;
    if (!active->started) {
      start(*active);
      active->is_short = active->n_prompt - active->computed < options_.short_prompt;
    }
    n_generating += active->started && !active->in_prompt();
  }
  std::int64_t budget = options_.batch;
  if (n_generating > 0) budget = std::max<std::int64_t>(options_.micro_batch - n_generating, 1);
  for (const auto& active : active_) {
    if (!active->started) continue;
    std::int64_t n = 1;
    if (active->in_prompt()) {
      n = std::min(active->n_prompt - active->computed, budget);
      if (active->request.prompt_logprobs) n = std::min(n, kLogitsRows);
      budget -= n;
    }
    active->n_rows = n;
  }
}

// The rows that each sequence has a share of, its drafts behind them.
void Engine::build_rows() {
  rows_.clear();
  for (const auto& active : active_) {
    const auto n_tokens = static_cast<std::int64_t>(active->tokens.size());
    for (std::int64_t i = 0; active->n_rows > 0 && i < active->n_rows + std::ssize(active->drafts); ++i) {
      const std::int64_t position = active->computed + i;
      exec::Row row;
      row.token = position < n_tokens ? active->tokens[position] : active->drafts[position - n_tokens];
      row.position = static_cast<std::int32_t>(position);
      row.sequence = active->slot;
      row.prompt = active->in_prompt() && !active->is_short;
      row.wants_logits = position + 1 >= n_tokens ? active->request.max_tokens != 0 : active->request.prompt_logprobs;
      row.wants_hidden = width_ > 0;
      rows_.push_back(row);
    }
  }
}

bool Engine::evict_kept(std::int32_t except) {
  Slot* oldest = nullptr;
  for (Slot& slot : slots_)
    if (slot.owner == nullptr && !slot.kept.empty() && &slot != (except < 0 ? nullptr : &slots_[except]) &&
        (oldest == nullptr || slot.last_used < oldest->last_used))
      oldest = &slot;
  if (oldest == nullptr) return false;
  oldest->kept.clear();
  pass_.truncate(static_cast<std::int32_t>(oldest - slots_.data()), 0);
  return true;
}

// Kept prefixes give way to rows. Full contexts of all active sequences fit by construction.
void Engine::make_room() {
  const std::int64_t block = pass_.block_positions();
  std::int64_t need = 0;
  for (const auto& active : active_)
    need += (active->computed + active->n_rows + block - 1) / block * block -
            (active->computed + block - 1) / block * block;
  while (need > pass_.free_positions() && evict_kept(-1)) {
  }
}

SampledRow Engine::sampled_row(Active& active, std::size_t logits_row) {
  const auto vocab = static_cast<std::size_t>(pass_.vocab_size());
  return {.sampler = &active.sampler,
          .logits = std::span(output_.logits).subspan(vocab * logits_row, vocab),
          .banned = active.request.ignore_eos ? std::span<const std::int32_t>(vocabulary_.end_tokens)
                                              : std::span<const std::int32_t>(),
          .n_logprobs = active.request.n_logprobs};
}

// Tokens and logprobs of all rows that wanted logits but for those of drafts, in the order in which process() takes them.
void Engine::sample() {
  sampled_.clear();
  std::size_t logits_row = 0;
  for (const auto& active : active_) {
    if (active->n_rows == 0) continue;
    const Request& request = active->request;
    const std::int64_t end = active->computed + active->n_rows;
    if (active->in_prompt() && request.prompt_logprobs) {
      for (std::int64_t p = active->computed; p < std::min(end, active->n_prompt - 1); ++p) {
        SampledRow row = sampled_row(*active, logits_row++);
        row.sampler = nullptr;
        row.n_logprobs = std::max<std::int64_t>(request.n_logprobs, 0);
        row.token = active->tokens[p + 1];
        sampled_.push_back(row);
      }
    }
    if (end < std::ssize(active->tokens) || request.max_tokens == 0) continue;
    active->logits_row = logits_row;
    sampled_.push_back(sampled_row(*active, logits_row));
    logits_row += 1 + active->drafts.size();
  }
  sample_rows(sampled_, pass_.team());
}

void Engine::process(Active& active, std::size_t& next_sampled) {
  const Request& request = active.request;
  const bool was_prompt = active.in_prompt();
  if (was_prompt) stats_.prompt_tokens += active.n_rows;
  if (was_prompt && request.prompt_logprobs) {
    if (active.prompt_infos.empty()) active.prompt_infos.push_back({active.tokens[0], 0, {}});
    for (std::int64_t p = active.computed; p < std::min(active.computed + active.n_rows, active.n_prompt - 1); ++p)
      active.prompt_infos.push_back(info_of(sampled_[next_sampled++]));
  }
  active.computed += active.n_rows;
  if (active.computed < static_cast<std::int64_t>(active.tokens.size())) return;
  if (request.max_tokens == 0) return finish(active, FinishReason::kMaxTokens, nullptr, "");
  force_acceptance(active, sampled_[next_sampled]);
  take(active, sampled_[next_sampled++]);
}

// The token behind all that is computed.
void Engine::take(Active& active, const SampledRow& row) {
  const Request& request = active.request;
  const TokenInfo info = info_of(row);
  active.sampler.accept(info.token);
  active.tokens.push_back(info.token);
  ++stats_.generated_tokens;
  if (std::binary_search(vocabulary_.end_tokens.begin(), vocabulary_.end_tokens.end(), info.token))
    return finish(active, FinishReason::kEndOfGeneration, &info, active.stops.flush());
  std::string text = active.stops.push(vocabulary_.piece(info.token));
  if (active.stops.stopped()) return finish(active, FinishReason::kStopText, &info, std::move(text));
  if (active.n_generated() == request.max_tokens)
    return finish(active, FinishReason::kMaxTokens, &info, text + active.stops.flush());
  if (static_cast<std::int64_t>(active.tokens.size()) >= options_.context)
    return finish(active, FinishReason::kContextFull, &info, text + active.stops.flush());
  emit(active, {active.id, &info, std::move(text), FinishReason::kNone, nullptr});
}

void Engine::finish(Active& active, FinishReason reason, const TokenInfo* token, std::string text) {
  active.done = true;
  if (active.slot >= 0) {
    Slot& slot = slots_[active.slot];
    slot.owner = nullptr;
    const std::span<const std::int32_t> kept = sharing(active);
    slot.kept.assign(kept.begin(), kept.end());
    slot.n_prompt = active.n_prompt_rows();
    slot.last_used = ++clock_;
  }
  emit(active, {active.id, token, std::move(text), reason, nullptr});
}

void Engine::emit(Active& active, Event event) {
  const std::vector<TokenInfo> infos = std::move(active.prompt_infos);
  active.prompt_infos.clear();
  if (!infos.empty()) event.prompt = &infos;
  if (active.on_token) active.on_token(event);
}

// Ends cancelled requests and forgets ended ones.
void Engine::sweep() {
  for (std::size_t i = 0; i < active_.size(); ++i)
    if (active_[i]->cancelled && !active_[i]->done)
      finish(*active_[i], FinishReason::kCancelled, nullptr, active_[i]->stops.flush());
  for (const auto& active : active_)
    if (active->done && active->slot >= 0) slots_[active->slot].trail = std::move(active->trail);
  std::erase_if(active_, [](const auto& active) { return active->done; });
}

std::int32_t Engine::free_sequence() { return take_slot(-1); }

void Engine::keep(std::int32_t sequence, std::vector<std::int32_t> tokens) {
  Slot& slot = slots_[sequence];
  slot.trail = DraftTrail::restored(std::ssize(tokens), width_);
  slot.n_prompt = std::ssize(tokens);
  slot.kept = std::move(tokens);
  slot.last_used = ++clock_;
}

}  // namespace dodeca::runtime::engine
