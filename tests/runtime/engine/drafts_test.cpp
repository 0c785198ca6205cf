// Texts with drafts are the texts without, bit for bit: whatever is drafted, however many at once, whoever ends when.
#include <doctest/doctest.h>

#include <map>
#include <random>

#include "runtime/engine/session.hpp"
#include "tests/runtime/engine/fake_pass.hpp"
#include "tests/support/demo_model.hpp"

namespace dodeca::runtime::engine {
namespace {

using tests::FakePass;
using Tokens = std::vector<std::int32_t>;

struct Answer {
  Tokens tokens;
  std::vector<float> logprobs;
  std::string text;
  FinishReason finish = FinishReason::kNone;
  bool operator==(const Answer&) const = default;
};

// cancel_at: tokens after which the request ends itself; 0: never.
OnToken collect(Answer& answer, Engine& engine, std::size_t cancel_at = 0) {
  return [&answer, &engine, cancel_at](const Event& event) {
    CHECK(answer.finish == FinishReason::kNone);
    if (event.token != nullptr) {
      answer.tokens.push_back(event.token->token);
      answer.logprobs.push_back(event.token->logprob);
      for (const TokenLogprob& top : event.token->top) answer.logprobs.push_back(top.logprob);
    }
    answer.text += event.text;
    answer.finish = event.finish;
    if (answer.tokens.size() == cancel_at) engine.cancel(event.request);
  };
}

void run_all(Engine& engine) {
  while (engine.step()) {
  }
}

struct Ask {
  Request request;
  std::size_t cancel_at = 0;
};

std::vector<Answer> answers_of(Engine& engine, const std::vector<Ask>& asks) {
  std::vector<Answer> answers(asks.size());
  for (std::size_t i = 0; i < asks.size(); ++i)
    engine.submit(asks[i].request, collect(answers[i], engine, asks[i].cancel_at));
  run_all(engine);
  return answers;
}

Tokens random_tokens(std::mt19937& random, std::size_t n, std::int32_t vocab) {
  Tokens tokens(n);
  for (auto& token : tokens) token = 3 + static_cast<std::int32_t>(random() % static_cast<unsigned>(vocab - 3));
  return tokens;
}

// Of all kinds: greedy and drawn, with penalties, stop texts, few tokens, shared beginnings, cancelled ones.
std::vector<Ask> random_asks(std::mt19937& random, int n, const Tokens& shared, std::int32_t vocab,
                             const std::vector<std::string>& stops) {
  std::vector<Ask> asks;
  for (int i = 0; i < n; ++i) {
    Ask ask;
    Request& r = ask.request;
    if (random() % 2)
      r.prompt.assign(shared.begin(), shared.begin() + static_cast<std::ptrdiff_t>(1 + random() % shared.size()));
    const Tokens rest = random_tokens(random, 1 + random() % 20, vocab);
    r.prompt.insert(r.prompt.end(), rest.begin(), rest.end());
    r.max_tokens = 1 + static_cast<std::int64_t>(random() % 24);
    r.sampling.temperature = std::array{0.0, 0.8, 1.5}[random() % 3];
    r.sampling.seed = random();
    if (random() % 3 == 0) r.sampling.repeat_penalty = 1.1;
    if (random() % 4 == 0) r.sampling.presence_penalty = 0.5;
    if (random() % 3 == 0) r.stop = {stops[random() % stops.size()]};
    if (random() % 4 == 0) r.ignore_eos = true;
    if (random() % 4 == 0) r.n_logprobs = static_cast<std::int64_t>(random() % 3);
    if (random() % 6 == 0) ask.cancel_at = 1 + random() % 12;
    asks.push_back(std::move(ask));
  }
  return asks;
}

EngineOptions with_drafts(std::int32_t n_parallel, std::int64_t context, std::int64_t n_drafts) {
  return {.n_parallel = n_parallel, .context = context, .batch = 32, .micro_batch = 16, .drafts = {.n = n_drafts}};
}

struct Fake {
  FakePass pass;
  Engine engine;
  Fake(std::int32_t n_parallel, std::int64_t context, std::int64_t n_drafts)
      : pass(make(n_parallel, context, n_drafts > 0)),
        engine(pass, FakePass::vocabulary(), with_drafts(n_parallel, context, n_drafts)) {}
  static FakePass make(std::int32_t n_parallel, std::int64_t context, bool drafts) {
    FakePass pass(Engine::sequences_for(n_parallel), n_parallel * ((context + 7) / 8 * 8));
    pass.drafts = drafts;
    return pass;
  }
};

}  // namespace

TEST_CASE("any requests, side by side, with one to three drafts: the same answers") {
  std::mt19937 random(7);
  const Tokens shared = random_tokens(random, 40, FakePass::kVocab);
  for (int round = 0; round < 12; ++round) {
    const auto asks = random_asks(random, 25, shared, FakePass::kVocab, {"AB", "Q", "XYZ", "K"});
    Fake plain(1, 96, 0);
    const std::vector<Answer> want = answers_of(plain.engine, asks);
    for (const std::int32_t n_parallel : {1, 2, 3, 8}) {
      for (const std::int64_t n_drafts : {1, 2, 3}) {
        Fake fake(n_parallel, 96, n_drafts);
        const std::vector<Answer> got = answers_of(fake.engine, asks);
        for (std::size_t i = 0; i < asks.size(); ++i) CHECK(got[i] == want[i]);
        const DraftStats& drafts = fake.engine.stats().drafts;
        CHECK(drafts.n_accepted > 0);
        CHECK(drafts.n_accepted < drafts.n_drafted);
      }
    }
  }
}

TEST_CASE("a text alone: every row of the draft layer is made once, for the token that came") {
  std::mt19937 random(3);
  for (const std::int64_t n_drafts : {1, 3}) {
    Fake fake(1, 200, n_drafts);
    Request request{.prompt = random_tokens(random, 50, FakePass::kVocab), .max_tokens = 120, .ignore_eos = true};
    request.sampling.temperature = 0;
    Answer answer;
    fake.engine.submit(request, collect(answer, fake.engine));
    run_all(fake.engine);
    CHECK(answer.tokens.size() == 120);
    CHECK(fake.pass.n_stale == 0);
    CHECK(fake.pass.n_unknown == 0);
    if (n_drafts == 1) CHECK(fake.pass.n_draft_rows == 50 + 119);
    // Three of four drafts are right: fewer passes than tokens.
    CHECK(fake.engine.stats().steps < 100);
    CHECK(fake.engine.stats().generated_tokens == 120);
  }
}

TEST_CASE("a text that goes on from another keeps its draft layer") {
  std::mt19937 random(5);
  Fake fake(1, 200, 1);
  Request request{.prompt = random_tokens(random, 21, FakePass::kVocab), .max_tokens = 9, .ignore_eos = true};
  Answer first, second;
  fake.engine.submit(request, collect(first, fake.engine));
  run_all(fake.engine);
  request.prompt.insert(request.prompt.end(), first.tokens.begin(), first.tokens.end());
  request.prompt.push_back(7);
  request.max_tokens = 20;
  fake.engine.submit(request, collect(second, fake.engine));
  run_all(fake.engine);
  CHECK(fake.engine.stats().reused_tokens == 29);
  CHECK(fake.pass.n_stale == 0);
  CHECK(fake.pass.n_unknown == 0);  // the last hidden state was kept
  // Nobody has it of a position in the middle of a prompt, which is computed again.
  request.prompt.resize(19);
  request.prompt.push_back(8);
  fake.engine.submit(request, collect(second = {}, fake.engine));
  run_all(fake.engine);
  CHECK(fake.engine.stats().reused_tokens == 29 + 18);
  CHECK(fake.pass.n_unknown == 0);
  CHECK(fake.pass.n_stale == 0);
}

TEST_CASE("a forced share of drafts is taken") {
  Fake fake(1, 2100, 1);
  EngineOptions options = with_drafts(1, 2100, 1);
  options.drafts.accepted = 0.7;
  Engine engine(fake.pass, FakePass::vocabulary(), options);
  Answer answer;
  engine.submit({.prompt = {3, 4}, .max_tokens = 2000, .ignore_eos = true}, collect(answer, engine));
  run_all(engine);
  CHECK(answer.tokens.size() == 2000);
  const DraftStats& drafts = engine.stats().drafts;
  CHECK(static_cast<double>(drafts.n_accepted) / static_cast<double>(drafts.n_drafted) ==
        doctest::Approx(0.7).epsilon(0.05));
}

TEST_CASE("the demo gives the same answers with drafts, at any temperature and beside others") {
  const std::shared_ptr<const WeightSource> source = open_weights(tests::kDemoModel, {}, tests::kSilent);
  std::mt19937 random(11);
  const auto session = [&](bool mtp) {
    return Session(source, make_plan(*source, this_machine(), {.mtp = mtp}), Workers(2, 2, tests::kSilent),
                   {.executor = {.n_positions = 3 * 256, .n_sequences = Engine::sequences_for(3), .micro_batch = 32}},
                   tests::kSilent);
  };
  Session plain = session(false), drafting = session(true);
  const Vocabulary vocabulary{[](std::int32_t id) { return std::to_string(id) + " "; }, {1}};
  const Tokens shared = random_tokens(random, 90, 4096);
  const auto asks = random_asks(random, 40, shared, 4096, {"7 ", "12", "0 3", "84 "});
  const auto answers = [&](Session& s, std::int32_t n_parallel, std::int64_t n_drafts) {
    EngineOptions options = with_drafts(n_parallel, 192, n_drafts);
    options.share_generated = false;
    for (std::int32_t i = 0; i < Engine::sequences_for(3); ++i) s.executor().cache().truncate(i, 0);
    return answers_of(s.start_engine(vocabulary, options), asks);
  };
  const std::vector<Answer> want = answers(plain, 1, 0);
  for (const std::int32_t n_parallel : {1, 3}) {
    for (const std::int64_t n_drafts : {1, 3}) {
      const std::vector<Answer> got = answers(drafting, n_parallel, n_drafts);
      for (std::size_t i = 0; i < asks.size(); ++i) CHECK(got[i] == want[i]);
    }
  }
}

TEST_CASE("control: keeps what is faster, and tries the other again later") {
  DraftControl control(2, true);
  double with = 1.5, without = 1.0;  // tokens per second
  int switches = 0, off = 0;
  const auto steps = [&](int n) {
    for (int i = 0; i < n; ++i) {
      const bool on = control.wanted(1) > 0;
      off += !on;
      // Now and then something else delays a step.
      const double delay = i % 20 == 3 ? 5.0 : 1.0;
      switches += control.add({1, on, on, 2, delay * 2 / (on ? with : without)});
    }
  };
  steps(2000);
  CHECK(switches == 0);
  CHECK(control.wanted(1) == 2);
  CHECK(off < 200);
  with = 0.9;
  steps(3000);
  CHECK(switches == 1);
  CHECK_FALSE(control.verdict().on);
  CHECK(control.verdict().rate_on == doctest::Approx(0.9));
  CHECK(control.wanted(1) == 0);
  CHECK(control.wanted(5) == 2);  // others were not measured
  with = 1.02;                    // not enough to change for
  steps(20000);
  CHECK(switches == 1);
  with = 1.2;
  steps(20000);
  CHECK(switches == 2);
  DraftControl always(1, false);
  for (int i = 0; i < 1000; ++i) CHECK_FALSE(always.add({1, true, true, 1, 9.0}));
  CHECK(always.wanted(1) == 1);
}

}  // namespace dodeca::runtime::engine
