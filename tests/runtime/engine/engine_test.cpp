#include "runtime/engine/engine.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <random>

#include "runtime/base/error.hpp"
#include "tests/runtime/engine/fake_pass.hpp"

namespace {

using namespace dodeca::runtime;
using namespace dodeca::runtime::engine;
using dodeca::tests::FakePass;
using Tokens = std::vector<std::int32_t>;

Tokens random_tokens(std::mt19937& random, std::size_t n) {
  Tokens tokens(n);
  for (auto& token : tokens) token = 1 + static_cast<std::int32_t>(random() % (FakePass::kVocab - 1));
  return tokens;
}

Request greedy(Tokens prompt, std::int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  return request;
}

struct Answer {
  Tokens tokens;
  std::string text;
  FinishReason finish = FinishReason::kNone;
  std::vector<TokenInfo> infos, prompt;
  int events = 0;
};

OnToken collect(Answer& answer) {
  return [&answer](const Event& event) {
    CHECK(answer.finish == FinishReason::kNone);  // nothing after the end
    ++answer.events;
    if (event.token != nullptr) {
      answer.tokens.push_back(event.token->token);
      answer.infos.push_back(*event.token);
    }
    if (event.prompt != nullptr) answer.prompt = *event.prompt;
    answer.text += event.text;
    answer.finish = event.finish;
  };
}

struct Setup {
  FakePass pass;
  Engine engine;
  Setup(std::int32_t n_parallel, std::int64_t context, std::int64_t batch = 64, std::int64_t micro_batch = 16)
      : pass(Engine::sequences_for(n_parallel), n_parallel * ((context + 7) / 8 * 8)),
        engine(pass, FakePass::vocabulary(), {n_parallel, context, batch, micro_batch}) {}
  Answer run(Request request) {
    Answer answer;
    engine.submit(std::move(request), collect(answer));
    while (engine.step()) {
    }
    return answer;
  }
};

TEST_CASE("one request gives the model's greedy continuation") {
  std::mt19937 random(1);
  Setup setup(1, 200);
  for (int i = 0; i < 10; ++i) {
    const Tokens prompt = random_tokens(random, 1 + random() % 100);
    const Answer answer = setup.run(greedy(prompt, 30));
    CHECK(answer.tokens == FakePass::greedy(prompt, 30));
    CHECK(answer.finish ==
          (answer.tokens.back() == FakePass::kEnd ? FinishReason::kEndOfGeneration : FinishReason::kMaxTokens));
  }
}

TEST_CASE("results do not depend on parallelism, batch sizes, order or companions") {
  std::mt19937 random(2);
  std::vector<Request> requests;
  const Tokens shared = random_tokens(random, 45);
  for (int i = 0; i < 40; ++i) {
    Tokens prompt = random() % 2 ? shared : Tokens();
    const Tokens rest = random_tokens(random, 1 + random() % 40);
    prompt.insert(prompt.end(), rest.begin(), rest.end());
    Request request = greedy(prompt, 1 + static_cast<std::int64_t>(random() % 30));
    if (i % 3 == 0) {
      request.sampling.temperature = 1.0;
      request.sampling.repeat_penalty = 1.1;
      request.sampling.seed = static_cast<std::uint64_t>(i);
    }
    if (i % 4 == 0) request.stop = {"AB", "Q"};
    if (i % 5 == 0) request.ignore_eos = true;
    requests.push_back(std::move(request));
  }
  std::vector<Answer> alone(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) alone[i] = Setup(1, 128, 1000, 1000).run(requests[i]);
  for (const std::int32_t n_parallel : {1, 2, 3, 8})
    for (const std::int64_t micro_batch : {1, 7, 64}) {
      Setup setup(n_parallel, 128, 2 * micro_batch, micro_batch);
      std::vector<Answer> answers(requests.size());
      for (std::size_t i = 0; i < requests.size(); ++i) setup.engine.submit(requests[i], collect(answers[i]));
      while (setup.engine.step()) {
      }
      for (std::size_t i = 0; i < requests.size(); ++i) {
        CHECK(answers[i].tokens == alone[i].tokens);
        CHECK(answers[i].text == alone[i].text);
        CHECK(answers[i].finish == alone[i].finish);
      }
      CHECK(setup.engine.n_active() == 0);
    }
}

TEST_CASE("a common prefix is computed once, also between requests that arrive together") {
  std::mt19937 random(3);
  const Tokens shared = random_tokens(random, 100);
  for (const std::int32_t n_parallel : {1, 4, 8}) {
    Setup setup(n_parallel, 160, 40, 20);
    std::vector<Answer> answers(12);
    std::int64_t tails = 0;
    for (Answer& answer : answers) {
      Tokens prompt = shared;
      const Tokens rest = random_tokens(random, 5);
      prompt.insert(prompt.end(), rest.begin(), rest.end());
      tails += 5;
      setup.engine.submit(greedy(prompt, 3), collect(answer));
    }
    while (setup.engine.step()) {
    }
    // Two tails may begin alike by chance, which is shared too.
    CHECK(setup.engine.stats().prompt_tokens <= 100 + tails);
    CHECK(setup.engine.stats().prompt_tokens >= 100 + tails - 12);
    CHECK(setup.engine.stats().prompt_tokens + setup.engine.stats().reused_tokens == 12 * 105);
  }
}

TEST_CASE("kept prefixes give way when room is short, and the texts stay right") {
  std::mt19937 random(4);
  const std::int64_t context = 64;
  std::vector<Tokens> heads;
  for (int i = 0; i < 5; ++i) heads.push_back(random_tokens(random, 30));
  Setup setup(3, context, 32, 8);  // exactly three full contexts of room
  std::vector<Answer> answers(120);
  std::vector<Tokens> prompts;
  for (Answer& answer : answers) {
    Tokens prompt = heads[random() % heads.size()];
    const Tokens rest = random_tokens(random, 1 + random() % 30);
    prompt.insert(prompt.end(), rest.begin(), rest.end());
    prompts.push_back(prompt);
    setup.engine.submit(greedy(prompt, -1), collect(answer));
  }
  while (setup.engine.step()) {
  }
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const Tokens expected = FakePass::greedy(prompts[i], context - static_cast<std::int64_t>(prompts[i].size()));
    CHECK(answers[i].tokens == expected);
    CHECK(answers[i].finish ==
          (expected.back() == FakePass::kEnd ? FinishReason::kEndOfGeneration : FinishReason::kContextFull));
  }
  CHECK(setup.engine.stats().reused_tokens > 0);
}

TEST_CASE("generated rows serve as a prefix only where that is allowed") {
  std::mt19937 random(12);
  const Tokens prompt = random_tokens(random, 40);
  for (const bool share : {true, false}) {
    FakePass pass(Engine::sequences_for(1), 256);
    Engine engine(pass, FakePass::vocabulary(), {1, 200, 64, 16, share});
    Answer first, second;
    Request request = greedy(prompt, 30);
    request.ignore_eos = true;
    engine.submit(request, collect(first));
    while (engine.step()) {
    }
    request.prompt.insert(request.prompt.end(), first.tokens.begin(), first.tokens.end());
    engine.submit(request, collect(second));
    while (engine.step()) {
    }
    CHECK(second.tokens.size() == 30);
    CHECK(engine.stats().reused_tokens == (share ? 69 : 40));
  }
}

TEST_CASE("generation goes on beside a long prompt, one token per pass") {
  std::mt19937 random(5);
  Setup setup(2, 1000, 64, 16);
  Answer fast, slow;
  Request request = greedy(random_tokens(random, 4), 40);
  request.ignore_eos = true;
  setup.engine.submit(request, collect(fast));
  setup.engine.step();
  setup.engine.submit(greedy(random_tokens(random, 500), 1), collect(slow));
  for (std::size_t n = 2; n <= 20; ++n) {
    setup.engine.step();
    CHECK(fast.tokens.size() == n);
    CHECK(setup.pass.rows_per_pass.back() == 16);
  }
  while (setup.engine.step()) {
  }
  CHECK(slow.tokens.size() == 1);
}

TEST_CASE("stop texts across tokens end the text before them") {
  std::mt19937 random(6);
  const Tokens prompt = random_tokens(random, 10);
  Request request = greedy(prompt, 30);
  request.ignore_eos = true;
  Answer whole = Setup(1, 100).run(request);
  REQUIRE(whole.text.size() == 30);
  request.stop = {"#none#", whole.text.substr(10, 3)};
  const Answer stopped = Setup(1, 100).run(request);
  CHECK(stopped.finish == FinishReason::kStopText);
  CHECK(stopped.text == whole.text.substr(0, whole.text.find(request.stop[1])));
  // A beginning of a stop text that never completes is text.
  request.stop = {whole.text.substr(27, 3) + "#"};
  CHECK(Setup(1, 100).run(request).text == whole.text);
}

TEST_CASE("a pass that is stopped leaves its requests as they were: they go on, or are cancelled") {
  std::mt19937 random(17);
  const Tokens prompt = random_tokens(random, 90);
  const Answer want = Setup(1, 200).run(greedy(prompt, 20));
  for (const bool cancels : {false, true}) {
    for (const int stopped : {1, 3, 12}) {  // in the prompt, and in what is generated
      CAPTURE(stopped);
      Setup setup(1, 200);
      setup.pass.stops = stopped;
      Answer answer;
      const RequestId id = setup.engine.submit(greedy(prompt, 20), collect(answer));
      int thrown = 0;
      for (bool working = true; working;) {
        try {
          working = setup.engine.step();
        } catch (const Stopped&) {
          ++thrown;
          if (cancels) setup.engine.cancel(id);
        }
      }
      CHECK(thrown == 1);
      if (cancels)
        CHECK(answer.finish == FinishReason::kCancelled);
      else
        CHECK(answer.tokens == want.tokens);
      CHECK(setup.run(greedy(prompt, 20)).tokens == want.tokens);  // from what was kept
    }
  }
}

TEST_CASE("cancel: queued, active, unknown, and from a callback; a place is taken at once") {
  std::mt19937 random(7);
  Setup setup(2, 200);
  std::vector<Answer> answers(5);
  std::vector<RequestId> ids;
  for (Answer& answer : answers) {
    Request request = greedy(random_tokens(random, 10), 50);
    request.ignore_eos = true;
    ids.push_back(setup.engine.submit(request, collect(answer)));
  }
  setup.engine.step();
  setup.engine.step();
  setup.engine.cancel(ids[3]);
  CHECK(answers[3].finish == FinishReason::kCancelled);
  CHECK(answers[3].tokens.empty());
  setup.engine.cancel(ids[0]);
  setup.engine.cancel(999);
  setup.engine.step();
  CHECK(answers[0].finish == FinishReason::kCancelled);
  CHECK(answers[0].tokens.size() == 2);
  CHECK(answers[2].tokens.size() == 1);  // took the place in the same step
  Answer own;
  RequestId id = 0;
  Request request = greedy(random_tokens(random, 20), 50);
  request.ignore_eos = true;
  const OnToken inner = collect(own);
  id = setup.engine.submit(request, [&](const Event& event) {
    inner(event);
    if (own.tokens.size() == 5) setup.engine.cancel(id);
  });
  while (setup.engine.step()) {
  }
  CHECK(own.finish == FinishReason::kCancelled);
  CHECK(own.tokens.size() == 5);
  CHECK(answers[1].finish == FinishReason::kMaxTokens);
  CHECK(answers[2].tokens.size() == 50);
  CHECK(answers[4].tokens.size() == 50);
}

TEST_CASE("a callback may submit the next request") {
  std::mt19937 random(8);
  Setup setup(2, 100);
  int finished = 0;
  std::function<void()> submit = [&] {
    setup.engine.submit(greedy(random_tokens(random, 10), 4), [&](const Event& event) {
      if (event.finish != FinishReason::kNone && ++finished < 20) submit();
    });
  };
  submit();
  while (setup.engine.step()) {
  }
  CHECK(finished == 20);
}

TEST_CASE("the pass may rest when no request is left, and not between tokens") {
  FakePass pass(4, 64);
  Engine engine(pass, FakePass::vocabulary(), {.n_parallel = 1, .context = 32, .batch = 8, .micro_batch = 8});
  Request request;
  request.prompt = {1, 2, 3};
  request.ignore_eos = true;
  request.max_tokens = 3;
  for (int i = 0; i < 2; ++i) engine.submit(request, [](const Event&) {});
  while (engine.n_active() + engine.n_queued() > 0 || pass.n_rows == 0) {
    CHECK(pass.n_rests == 0);
    engine.step();
  }
  CHECK(pass.n_rests == 1);
}

TEST_CASE("logprobs of sampled and prompt tokens are the model's") {
  std::mt19937 random(9);
  for (const std::int64_t micro_batch : {3, 200}) {
    const Tokens prompt = random_tokens(random, 90);
    Request request = greedy(prompt, 5);
    request.ignore_eos = true;
    request.n_logprobs = 2;
    request.prompt_logprobs = true;
    const Answer answer = Setup(1, 200, micro_batch, micro_batch).run(request);
    REQUIRE(answer.prompt.size() == prompt.size());
    Tokens history = {prompt[0]};
    for (std::size_t i = 1; i < prompt.size() + answer.tokens.size(); ++i) {
      const TokenInfo& info = i < prompt.size() ? answer.prompt[i] : answer.infos[i - prompt.size()];
      const LogprobsResult expected = logprobs(FakePass::logits_after(history), info.token, 2);
      CHECK(info.logprob == expected.chosen);
      REQUIRE(info.top.size() == 2);
      CHECK(info.top[0].token == expected.top[0].token);
      history.push_back(info.token);
    }
    request.max_tokens = 0;
    const Answer scored = Setup(1, 200, micro_batch, micro_batch).run(request);
    CHECK(scored.tokens.empty());
    CHECK(scored.finish == FinishReason::kMaxTokens);
    REQUIRE(scored.prompt.size() == prompt.size());
    CHECK(scored.prompt.back().logprob == answer.prompt.back().logprob);
  }
}

TEST_CASE("limits are refused with the numbers") {
  Setup setup(1, 16);
  const auto message = [&](Request request) -> std::string {
    try {
      setup.engine.submit(std::move(request), {});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message(greedy(Tokens(16, 1), 1)).find("16 tokens, the context holds 16") != std::string::npos);
  CHECK(message(greedy({}, 1)).find("empty") != std::string::npos);
  CHECK(message(greedy({FakePass::kVocab}, 1)).find("outside the vocabulary") != std::string::npos);
  CHECK(message(greedy({-1}, 1)).find("outside the vocabulary") != std::string::npos);
  Request request = greedy(Tokens(15, 1), -1);
  request.ignore_eos = true;
  const Answer answer = setup.run(request);
  CHECK(answer.tokens.size() == 1);
  CHECK(answer.finish == FinishReason::kContextFull);
  CHECK(setup.run(greedy(Tokens(3, 1), 0)).finish == FinishReason::kMaxTokens);
  FakePass small(4, 64);
  CHECK_THROWS_AS(Engine(small, FakePass::vocabulary(), {2, 64, 16, 16}), Error);
}

TEST_CASE("kept sequences can be found, and restored ones are used") {
  std::mt19937 random(10);
  const Tokens prompt = random_tokens(random, 50);
  Setup setup(1, 100);
  setup.run(greedy(prompt, 3));
  const Engine::Kept kept = setup.engine.find_kept(prompt);
  CHECK(kept.n == 50);
  Tokens longer = prompt;
  longer.push_back(5);
  const std::int64_t before = setup.pass.n_rows;
  CHECK(setup.run(greedy(longer, 1)).tokens == FakePass::greedy(longer, 1));
  CHECK(setup.pass.n_rows - before <= 2);

  Setup other(1, 100);
  const std::int32_t sequence = other.engine.free_sequence();
  std::vector<exec::Row> rows;
  for (std::size_t i = 0; i < prompt.size(); ++i)
    rows.push_back({prompt[i], static_cast<std::int32_t>(i), sequence, false, false});
  exec::ForwardOutput out;
  other.pass.forward(rows, out, true);
  other.engine.keep(sequence, prompt);
  CHECK(other.run(greedy(prompt, 4)).tokens == FakePass::greedy(prompt, 4));
  CHECK(other.engine.stats().prompt_tokens == 1);
}

}  // namespace
