#include "runtime/engine/session.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "runtime/base/error.hpp"
#include "runtime/model/shapes.hpp"
#include "tests/support/demo_model.hpp"

namespace dodeca::runtime::engine {
namespace {

using exec::Executor;

SessionOptions small_options() {
  return {.executor = {.n_positions = 256, .n_sequences = 2, .micro_batch = 64, .cache_type = quant::DType::kF32}};
}

Session open_demo(SessionOptions options, const PlanOptions& plan = {}) {
  std::shared_ptr<const WeightSource> source = open_weights(tests::kDemoModel, {}, tests::kSilent);
  return Session(source, make_plan(*source, this_machine(), plan), Workers(2, 1, tests::kSilent), std::move(options),
                 tests::kSilent);
}

std::vector<float> logits_of(Executor& executor) {
  exec::ForwardOutput out;
  executor.forward(tests::rows_of({1, 5, 9}), out);
  return {out.logits.begin(), out.logits.end()};
}

}  // namespace

TEST_CASE("a session computes what its parts put together by hand compute") {
  Session session = open_demo(small_options());
  tests::LoadedDemo demo({});
  Executor executor(*demo.model, demo.team, small_options().executor);
  const std::vector<float> logits = logits_of(session.executor());
  CHECK(logits == logits_of(executor));
  CHECK(session.executor_options().integer_attention);

  SUBCASE("again after a restart with another cache and other threads") {
    exec::ExecutorOptions other = small_options().executor;
    other.n_positions = 128;
    other.n_sequences = 1;
    Executor& restarted = session.restart(other, Workers(1, 0, tests::kSilent));
    CHECK(restarted.cache().n_sequences() == 1);
    CHECK(restarted.cache().length(0) == 0);
    CHECK(session.workers().most_threads() == 1);
    CHECK(logits_of(restarted) == logits);
  }
  SUBCASE("and its engine answers") {
    const Vocabulary vocabulary{[](std::int32_t id) { return std::to_string(id) + " "; }, {}};
    Engine& engine = session.start_engine(vocabulary, {.context = 64, .batch = 64, .micro_batch = 64});
    Request request;
    request.prompt = {1, 5, 9};
    request.sampling.temperature = 0;
    request.max_tokens = 2;
    std::size_t n_tokens = 0;
    // Prompts have a team of their own here. The team that may be needed next stays awake, the other one sleeps.
    const cpu::Team &generation = session.workers().generation(), &prompts = session.workers().prompts();
    engine.submit(request, [&](const Event& event) {
      n_tokens += event.token != nullptr;
      const bool first = n_tokens == 1;
      CHECK((first ? prompts : generation).idle_spin() == std::chrono::milliseconds(100));
      CHECK((first ? generation : prompts).idle_spin() == std::chrono::milliseconds(0));
    });
    while (engine.step()) continue;
    CHECK(n_tokens == 2);
    CHECK(generation.idle_spin() == cpu::Team::kIdleSpin);
    CHECK(prompts.idle_spin() == cpu::Team::kIdleSpin);
  }
}

TEST_CASE("the float32 route is one of attention too") {
  CHECK(!open_demo(small_options(), {.compute_f32 = true}).executor_options().integer_attention);
}

TEST_CASE("what does not fit is refused before anything is read, and again when it grows") {
  SessionOptions options = small_options();
  options.extra_bytes = std::uint64_t{1} << 60;
  bool read = false;
  options.progress = [&](double, double) { return read = true; };
  try {
    open_demo(options);
    FAIL("was loaded");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kDoesNotFit);
    CHECK(error.remedy() == Remedy::kSmallerModel);
  }
  CHECK(!read);

  Session session = open_demo(small_options());
  exec::ExecutorOptions large = small_options().executor;
  large.n_positions = std::int64_t{1} << 44;
  try {
    session.restart(large, Workers(1, 0, tests::kSilent));
    FAIL("was started");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kDoesNotFit);
    CHECK(error.remedy() == Remedy::kSmallerCache);
  }
  CHECK(session.executor().cache().n_sequences() == 2);  // as it was
  CHECK(logits_of(session.executor()).size() > 0);
}

TEST_CASE("a context is the one asked for, the model's own, or the default") {
  ModelConfig config;
  CHECK(context_for(config, -1) == 8192);
  CHECK(context_for(config, 0) == 8192);
  config.context_length = 163840;
  CHECK(context_for(config, -1) == 8192);
  CHECK(context_for(config, 0) == 163840);
  CHECK(context_for(config, 200000) == 200000);
  config.context_length = 4096;
  CHECK(context_for(config, -1) == 4096);
  CHECK(positions_for(100, 1) == 128);
  CHECK(positions_for(128, 3) == 384);
}

TEST_CASE("prompts are short below the crossover of the two forms of attention") {
  CHECK(short_prompt_rows(published_shape("deepseek-v3")) == 170);
  CHECK(short_prompt_rows(published_shape("deepseek-v2-lite")) == 170);
  CHECK(short_prompt_rows(ModelConfig{}) == 0);
}

}  // namespace dodeca::runtime::engine
