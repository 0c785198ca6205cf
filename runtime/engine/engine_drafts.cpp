// The engine's drafts: which sequences bring some, which are right, and the next ones.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>

#include "runtime/base/error.hpp"
#include "runtime/engine/active.hpp"

namespace dodeca::runtime::engine {
namespace {

// Rows that the draft layer may be behind where nothing is drafted: so many at once cost little more than one.
constexpr std::int64_t kMostDue = 64;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

bool Engine::has_same_next(const Active& active, const Kept& source) const {
  const Slot& slot = slots_[source.sequence];
  const std::vector<std::int32_t>& tokens = slot.owner != nullptr ? slot.owner->tokens : slot.kept;
  return source.n < std::ssize(tokens) && tokens[source.n] == active.tokens[source.n];
}

// Whether the last position of a prefix is computed again for its hidden state, which nobody kept: where it was a prompt
// row and will be one, so that its bits are the same.
bool Engine::repeats_last(const Active& active, const Kept& source) const {
  if (width_ == 0 || options_.short_prompt > 0 || has_same_next(active, source)) return false;
  const Slot& slot = slots_[source.sequence];
  const DraftTrail& trail = slot.owner != nullptr ? slot.owner->trail : slot.trail;
  return !trail.has(source.n - 1) && source.n <= (slot.owner != nullptr ? slot.owner->n_prompt_rows() : slot.n_prompt);
}

// What the draft layer has of a prefix that was taken over.
void Engine::start_trail(Active& active, const Kept& source) {
  if (width_ == 0) return;
  const Slot& slot = slots_[source.sequence];
  const DraftTrail& trail = slot.owner != nullptr ? slot.owner->trail : slot.trail;
  active.trail = trail.prefix(source.n, has_same_next(active, source), pass_.block_positions());
}

// Drafts take no room that a kept prefix has.
void Engine::choose_drafts() {
  const std::int64_t block = pass_.block_positions();
  const auto blocks = [block](std::int64_t n) { return (n + block - 1) / block; };
  std::int64_t free = pass_.free_positions() / block;
  for (const auto& active : active_) free -= blocks(active->computed + active->n_rows) - blocks(active->computed);
  verified_ = drafted_ = false;
  for (const auto& active : active_) {
    active->n_accepted = 0;
    const std::int64_t end = active->computed + active->n_rows;
    while (!active->drafts.empty() && blocks(end + std::ssize(active->drafts)) - blocks(end) > free)
      active->drafts.pop_back();
    free -= blocks(end + std::ssize(active->drafts)) - blocks(end);
    verified_ = verified_ || !active->drafts.empty();
  }
}

// Takes the rows behind drafts that were right, one after another: what a request's sampler draws depends on what it drew
// before.
void Engine::verify() {
  for (std::int64_t k = 0; verified_; ++k) {
    std::vector<Active*> right;
    sampled_.clear();
    for (const auto& active : active_) {
      if (active->done || active->cancelled || active->n_accepted < k || std::ssize(active->drafts) <= k) continue;
      if (active->tokens.back() != active->drafts[k]) continue;
      right.push_back(active.get());
      sampled_.push_back(sampled_row(*active, active->logits_row + 1 + static_cast<std::size_t>(k)));
    }
    if (right.empty()) break;
    sample_rows(sampled_, pass_.team());
    for (std::size_t i = 0; i < right.size(); ++i) {
      ++right[i]->n_accepted;
      ++right[i]->computed;
      force_acceptance(*right[i], sampled_[i]);
      take(*right[i], sampled_[i]);
    }
  }
  cut_rejected();
}

// DraftOptions::accepted: makes the token the draft, or another one.
void Engine::force_acceptance(const Active& active, SampledRow& row) {
  if (options_.drafts.accepted < 0 || std::ssize(active.drafts) <= active.n_accepted) return;
  const std::int32_t draft = active.drafts[active.n_accepted];
  const bool accepted = static_cast<double>(forced_() >> 11) * 0x1p-53 < options_.drafts.accepted;
  if (accepted) row.token = draft;
  while (!accepted && (row.token == draft || std::ranges::binary_search(row.banned, row.token)))
    row.token = static_cast<std::int32_t>((row.token + 1) % pass_.vocab_size());
}

void Engine::cut_rejected() {
  for (const auto& active : active_) {
    stats_.drafts.n_accepted += active->n_accepted;
    if (active->n_rows > 0 && std::ssize(active->drafts) > active->n_accepted)
      pass_.truncate(active->slot, active->computed);
  }
}

// The hidden states of what was computed and counts.
void Engine::follow_hidden() {
  std::span<const float> hidden = output_.hidden;
  const auto take_rows = [&](std::int64_t n) {
    const auto values = static_cast<std::size_t>(n * width_);
    const std::span<const float> rows = hidden.first(values);
    hidden = hidden.subspan(values);
    return rows;
  };
  for (const auto& active : active_) {
    if (active->n_rows == 0) continue;
    active->trail.add(take_rows(active->n_rows + active->n_accepted));
    take_rows(std::ssize(active->drafts) - active->n_accepted);
    active->drafts.clear();
  }
}

// A draft is of use while the token behind it may still be generated.
std::int64_t Engine::drafts_wanted(const Active& active, std::int64_t n_generating) const {
  if (active.done || active.cancelled || active.in_prompt()) return 0;
  const auto n_tokens = static_cast<std::int64_t>(active.tokens.size());
  std::int64_t left = options_.context - n_tokens;
  if (active.request.max_tokens >= 0) left = std::min(left, active.request.max_tokens - active.n_generated());
  return std::clamp<std::int64_t>(left - 1, 0, control_.wanted(n_generating));
}

void Engine::draft(bool prompt) {
  if (width_ == 0) return;
  follow_hidden();
  const auto begin = std::chrono::steady_clock::now();
  try {
    draft_rows(prompt);
  } catch (const Error& error) {
    // The text needs no drafts.
    width_ = 0;
    for (const auto& active : active_) active->drafts.clear();
    if (options_.log) options_.log(Level::kWarning, fmt::format("no more drafts: {}", error.what()));
  }
  stats_.drafts.seconds += seconds_since(begin);
}

// Rows of the draft layer that are due, of all sequences in one pass; from the last of each the first draft.
void Engine::draft_rows(bool prompt) {
  struct Drafting {
    Active* active;
    std::int64_t n_wanted;
    Sampler sampler;  // goes on in the request's place, as if the drafts were taken
  };
  std::vector<Drafting> drafting;
  std::vector<float> hidden;
  std::int64_t n_generating = 0;
  for (const auto& active : active_) n_generating += active->started && !active->done && !active->in_prompt();
  rows_.clear();
  for (const auto& active : active_) {
    if (active->n_rows == 0) continue;
    const std::int64_t end = std::min(active->computed, static_cast<std::int64_t>(active->tokens.size()) - 1),
                       n_due = end - active->trail.filled(), n_wanted = drafts_wanted(*active, n_generating);
    const bool must = n_wanted > 0 || active->done || active->in_prompt() || n_due >= kMostDue;
    if (n_due <= 0 || !must) continue;
    for (std::int64_t p = active->trail.filled(); p < end; ++p) {
      const bool last = p + 1 == end && n_wanted > 0;
      rows_.push_back({.token = active->tokens[p + 1],
                       .position = static_cast<std::int32_t>(p),
                       .sequence = active->slot,
                       .wants_logits = last,
                       .wants_hidden = last && n_wanted > 1,
                       .prompt = p < active->n_prompt && !active->is_short});
    }
    const std::span<const float> due = active->trail.due(end);
    hidden.insert(hidden.end(), due.begin(), due.end());
    active->trail.fill(end);
    if (n_wanted > 0) drafting.push_back({active.get(), n_wanted, active->sampler});
  }
  if (rows_.empty()) return;
  exec::ForwardOutput out;
  pass_.draft(rows_, hidden, out, prompt);
  const auto vocab = static_cast<std::size_t>(pass_.vocab_size());
  std::vector<SampledRow> first;
  for (Drafting& d : drafting)
    first.push_back({.sampler = &d.sampler,
                     .logits = std::span(out.logits).subspan(vocab * first.size(), vocab),
                     .banned = sampled_row(*d.active, 0).banned});
  sample_rows(first, pass_.team());
  std::span<const float> last_hidden = out.hidden;
  for (std::size_t i = 0; i < drafting.size(); ++i) {
    if (first[i].error) continue;
    Drafting& d = drafting[i];
    d.active->drafts.push_back(first[i].token);
    if (d.n_wanted == 1) continue;
    draft_more(*d.active, d.n_wanted, std::move(d.sampler), last_hidden.first(static_cast<std::size_t>(width_)));
    last_hidden = last_hidden.subspan(static_cast<std::size_t>(width_));
  }
  for (const auto& active : active_) stats_.drafts.n_drafted += std::ssize(active->drafts);
  drafted_ = !drafting.empty();
}

// Drafts from drafts: the layer's own last norm in the place of the main layers', at positions that are cut off again.
void Engine::draft_more(Active& active, std::int64_t n_wanted, Sampler sampler, std::span<const float> hidden) {
  std::vector<float> state(hidden.begin(), hidden.end());
  exec::ForwardOutput out;
  for (std::int64_t position = active.computed; std::ssize(active.drafts) < n_wanted; ++position) {
    if (position % pass_.block_positions() == 0 && pass_.free_positions() == 0) break;
    sampler.accept(active.drafts.back());
    const exec::Row row{.token = active.drafts.back(),
                        .position = static_cast<std::int32_t>(position),
                        .sequence = active.slot,
                        .wants_logits = true,
                        .wants_hidden = true};
    pass_.draft({&row, 1}, state, out, false);
    SampledRow sampled = sampled_row(active, 0);
    sampled.sampler = &sampler;
    sampled.logits = out.logits;
    sample_rows({&sampled, 1}, pass_.team());
    if (sampled.error) break;
    active.drafts.push_back(sampled.token);
    state = out.hidden;
  }
  pass_.truncate(active.slot, active.computed);
}

void Engine::note_step(bool prompt, std::int64_t n_tokens, double seconds) {
  if (width_ == 0 || prompt) return;
  if (verified_ == drafted_) {
    DraftStats::Experts& experts = verified_ ? stats_.drafts.with : stats_.drafts.without;
    experts.touched += output_.experts_touched;
    experts.layers += output_.expert_layers;
  }
  std::int64_t n_sequences = 0;
  for (const auto& active : active_) n_sequences += active->n_rows > 0;
  const bool changed = control_.add({n_sequences, verified_, drafted_, n_tokens, seconds});
  if (!changed || !options_.log) return;
  const DraftControl::Verdict& found = control_.verdict();
  options_.log(Level::kInfo,
               fmt::format("drafts are {} for {} sequence{} at once: {:.2f} tokens/s with them, {:.2f} without",
                           found.on ? "made again" : "switched off", found.n_sequences,
                           found.n_sequences == 1 ? "" : "s", found.rate_on, found.rate_off));
}

}  // namespace dodeca::runtime::engine
