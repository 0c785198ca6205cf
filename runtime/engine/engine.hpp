// Continuous batching over one model: requests in, tokens out. Every step() runs one forward pass over all active
// sequences: a row for each that generates, and chunks of prompts. Prompts that begin alike are computed once: their
// cache is forked. Prints nothing, handles no signals, keeps no process-wide state. Not thread-safe: one thread owns
// it.
//
// Where the pass can draft, a generating sequence may bring drafts with its row, verified as further rows of the same
// pass: each row's token is drawn by the request's own sampler, and the next row counts while its draft is that token.
// Texts are therefore the same with drafts and without.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/log.hpp"
#include "runtime/engine/draft_control.hpp"
#include "runtime/engine/draft_trail.hpp"
#include "runtime/engine/forward_pass.hpp"
#include "runtime/sample/sample_rows.hpp"
#include "runtime/sample/sampler.hpp"

namespace dodeca::runtime {
class Tokenizer;
}

namespace dodeca::runtime::engine {

using RequestId = std::uint64_t;

struct Request {
  std::vector<std::int32_t> prompt;  // at least one token
  SamplerOptions sampling;
  std::int64_t max_tokens = -1;   // -1: until end of generation or the context is full
  std::vector<std::string> stop;  // the text ends before the first of them
  bool ignore_eos = false;        // end-of-generation tokens are never sampled
  std::int64_t n_logprobs = -1;   // -1: none; 0: of the sampled tokens; n: of the n likeliest too
  bool prompt_logprobs = false;   // of the prompt's tokens too
};

enum class FinishReason { kNone, kEndOfGeneration, kStopText, kMaxTokens, kContextFull, kCancelled };

struct TokenInfo {
  std::int32_t token = 0;
  float logprob = 0;              // when n_logprobs >= 0
  std::vector<TokenLogprob> top;  // n_logprobs of them
};

struct Event {
  RequestId request = 0;
  const TokenInfo* token = nullptr;  // the sampled token; null when the request ends without one
  std::string text;                  // bytes newly fit to show; may end inside a UTF-8 character
  FinishReason finish = FinishReason::kNone;
  // With the first event of a request that asked: logprobs of its prompt's tokens, the first without.
  const std::vector<TokenInfo>* prompt = nullptr;
};
// May call submit() and cancel().
using OnToken = std::function<void(const Event&)>;

// Ids to bytes, and which ids end a text.
struct Vocabulary {
  std::function<std::string(std::int32_t)> piece;
  std::vector<std::int32_t> end_tokens;  // sorted
};
// The tokenizer must outlive it.
Vocabulary vocabulary_of(const Tokenizer& tokenizer, std::int64_t vocab_size);

struct DraftOptions {
  std::int64_t n = 0;     // tokens at most that are drafted behind a sequence's last one; 0: none
  bool measures = false;  // drafts are left out where steps without them give more tokens per second
  double accepted =
      -1.0;  // 0 to 1: this share of them is taken, whatever is drawn, for measuring speed; texts have no sense then
};

struct EngineOptions {
  std::int32_t n_parallel = 1;                   // sequences that run at once; the pass has more, for kept prefixes
  std::int64_t context = 8192;                   // positions of one sequence
  std::int64_t batch = 2048, micro_batch = 512;  // prompt rows per step: alone, and beside generating sequences
  // Whether rows that were generated serve as another prompt's prefix. False where prompt and generation run on
  // different kernel routes and a result must not depend on what ran before.
  bool share_generated = true;
  // Prompts of which fewer tokens are still to be computed go as generated rows: for a few rows after a long context
  // that form of attention is cheaper. 0 where a result must not depend on what is in the cache already.
  std::int64_t short_prompt = 0;
  int poll = 50;  // 0 to 100: how long threads stay awake for the next step (ExecutorPass says how long)
  DraftOptions drafts = {};
  Log log = {};  // told when drafts begin or cease to be made; empty: nobody
};

// Tokens drafted and verified; distinct experts that a pass of one kind reads per layer.
struct DraftStats {
  std::int64_t n_drafted = 0, n_accepted = 0;
  double seconds = 0;  // of making them, the layer's cache included
  struct Experts {
    std::int64_t touched = 0, layers = 0;
    double per_layer() const { return layers > 0 ? static_cast<double>(touched) / static_cast<double>(layers) : 0; }
  };
  Experts with, without;  // passes of generation alone
};

struct EngineStats {
  std::int64_t prompt_tokens = 0;  // computed
  std::int64_t reused_tokens = 0;  // taken from another sequence's cache
  std::int64_t generated_tokens = 0;
  std::int64_t steps = 0;
  double prompt_seconds = 0;      // steps with prompt rows
  double generation_seconds = 0;  // the others
  DraftStats drafts;
};

class Engine {
 public:
  // Sequences that a pass should have for n_parallel: as many again hold recent prefixes.
  static std::int32_t sequences_for(std::int32_t n_parallel);

  // Throws Error{kDoesNotFit} when the pass has too few sequences or positions for n_parallel full contexts.
  Engine(ForwardPass& pass, Vocabulary vocabulary, const EngineOptions& options);
  ~Engine();

  // Throws Error{kDoesNotFit} with the numbers when the prompt leaves no room in the context, Error{kBadRequest} for an
  // empty prompt or an id outside the vocabulary.
  RequestId submit(Request request, OnToken on_token);
  // Ends a request; its last event comes with kCancelled. Unknown and finished ids are ignored.
  void cancel(RequestId request);
  // One forward pass and the events that follow. False when there is nothing to do. What the forward pass throws comes
  // out and leaves the engine unusable, but for Stopped: every request is as it was before, to be cancelled or gone on with.
  bool step();

  std::size_t n_active() const { return active_.size(); }
  std::size_t n_queued() const { return queue_.size(); }
  const EngineStats& stats() const { return stats_; }
  const DraftControl& draft_control() const { return control_; }
  bool drafts() const { return width_ > 0; }

  // Kept prefixes, for saving and restoring them. `tokens` describe what the caller has put into the sequence's cache:
  // prompt rows.
  std::int32_t free_sequence();
  void keep(std::int32_t sequence, std::vector<std::int32_t> tokens);
  // The sequence that holds most of the tokens' beginning, and how many; n = 0 when none does.
  struct Kept {
    std::int32_t sequence = -1;
    std::int64_t n = 0;
  };
  Kept find_kept(std::span<const std::int32_t> tokens) const;

 private:
  struct Active;
  struct Slot;
  bool admit();
  void start(Active& active);
  void share_rows();
  void make_room();
  void build_rows();
  bool evict_kept(std::int32_t except);
  std::int32_t take_slot(std::int32_t except);
  std::span<const std::int32_t> sharing(const Active& active) const;
  SampledRow sampled_row(Active& active, std::size_t logits_row);
  void sample();
  void process(Active& active, std::size_t& next_sampled);
  void take(Active& active, const SampledRow& row);
  void finish(Active& active, FinishReason reason, const TokenInfo* token, std::string text);
  void emit(Active& active, Event event);
  void sweep();

  // engine_drafts.cpp
  bool repeats_last(const Active& active, const Kept& source) const;
  bool has_same_next(const Active& active, const Kept& source) const;
  void start_trail(Active& active, const Kept& source);
  void choose_drafts();
  void verify();
  void force_acceptance(const Active& active, SampledRow& row);
  void cut_rejected();
  void draft(bool prompt);
  void draft_rows(bool prompt);
  void follow_hidden();
  std::int64_t drafts_wanted(const Active& active, std::int64_t n_generating) const;
  void draft_more(Active& active, std::int64_t n_wanted, Sampler sampler, std::span<const float> hidden);
  void note_step(bool prompt, std::int64_t n_tokens, double seconds);

  ForwardPass& pass_;
  Vocabulary vocabulary_;
  EngineOptions options_;
  EngineStats stats_;
  std::vector<Slot> slots_;                      // [n_sequences]
  std::vector<std::unique_ptr<Active>> active_;  // in order of admission
  std::deque<std::unique_ptr<Active>> queue_;
  std::vector<exec::Row> rows_;
  exec::ForwardOutput output_;
  std::vector<SampledRow> sampled_;  // of this step's rows that wanted logits
  RequestId next_id_ = 1;
  std::uint64_t clock_ = 0;  // for least-recently-used
  std::int64_t width_ = 0;   // of hidden states; 0: nothing is drafted
  DraftControl control_;
  bool verified_ = false, drafted_ = false;  // in this step
  std::mt19937_64 forced_{1};
};

}  // namespace dodeca::runtime::engine
