#include "runtime/predict/backtest.hpp"

#include <doctest/doctest.h>

#include "runtime/base/error.hpp"
#include "runtime/predict/catalogue.hpp"
#include "tests/runtime/predict/planned.hpp"

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::runtime::predict;

namespace {

Plan plan_of(const std::string& shape) { return planned(shape, "ud-q2_k_xl"); }

Published result(const std::string& id, const std::string& machine, double tokens_per_s) {
  return {.id = id,
          .engine = "an engine",
          .machine = machine,
          .card = "",
          .shape = "deepseek-v3",
          .types = "4 bits",
          .recipe = "Q4_K",
          .routed_bits = 4,
          .other_bits = 4,
          .depth = 0,
          .tokens_per_s = tokens_per_s,
          .prompt_per_s = 0,
          .source = "a test"};
}

}  // namespace

TEST_CASE("active weights of DeepSeek-V3") {
  const ActiveWeights w = active_weights(plan_of("deepseek-v3"));
  CHECK(w.routed == 58.0 * 8 * 3 * 7168 * 2048);
  CHECK(w.routers == 58.0 * 7168 * 256);
  CHECK(w.other == doctest::Approx(16189947904.0 - 58.0 * 7168 * 256));  // all but the experts, 44.2 % of 36.6 G
  CHECK(w.attention_macs == 61.0 * 128 * 1088);
  CHECK(w.cache_values == 61.0 * 576);
}

TEST_CASE("a result is predicted from the others alone") {
  // Bytes of 18.7 GB take 18.7 / read seconds; every one of these engines needs 40 ms more, but for the last: 60.
  const ActiveWeights w = active_weights(plan_of("deepseek-v3"));
  const double bytes = (w.routed + w.other) / 2 + 4 * w.routers;
  const auto with_rest = [&](const std::string& id, const std::string& machine, double rest) {
    return result(id, machine, 1 / (bytes / find_machine(machine).read_bandwidth(1000) + rest));
  };
  std::vector<Published> all = {with_rest("a", "epyc-9554", 0.04), with_rest("b", "epyc-9654", 0.04),
                                with_rest("c", "epyc-7763", 0.04), with_rest("d", "epyc-9354", 0.06)};
  for (Published& p : all) CHECK(p.tokens_per_s > 3);
  const Backtest test = backtest(all, plan_of);
  REQUIRE(test.tokens.n == 4);
  for (int i = 0; i < 3; ++i)
    CHECK(test.results[static_cast<std::size_t>(i)].error() == doctest::Approx(0).epsilon(1e-9));
  CHECK(test.tokens.worst_id == "d");
  CHECK(test.tokens.worst == doctest::Approx(*test.results[3].predicted / all[3].tokens_per_s - 1));
  CHECK(test.tokens.mean == doctest::Approx(test.tokens.worst / 4));
  CHECK(test.results[3].rest_ms == doctest::Approx(60).epsilon(1e-6));
}

TEST_CASE("what is left over of a result counts for the others alone, and attention by pairs") {
  const ActiveWeights w = active_weights(plan_of("deepseek-v3"));
  const double weights = (w.routed + w.other) / 2 + 4 * w.routers, depth = 8192;
  const auto of = [&](const std::string& id, const std::string& machine, double rest, double per_cycle) {
    const MachineSpec m = find_machine(machine);
    const double deep = per_cycle > 0 ? depth : 0, read = m.read_bandwidth(1000),
                 cycles = m.n_cores() * m.clock_ghz.value * 1e9;
    Published p = result(id, machine, 1);
    p.depth = static_cast<std::int64_t>(deep);
    p.tokens_per_s =
        1 / ((weights + 2 * deep * w.cache_values) / read + rest + deep * w.attention_macs * per_cycle / cycles);
    return p;
  };
  const std::vector<Published> all = {of("a", "epyc-9554", 0.02, 0),        of("b", "epyc-9654", 0.04, 0),
                                      of("c", "epyc-7763", 0.06, 0),        of("a deep", "epyc-9554", 0.02, 0.1),
                                      of("b deep", "epyc-9654", 0.04, 0.3), of("c deep", "epyc-7763", 0.06, 0.5)};
  const Backtest test = backtest(all, plan_of);
  CHECK(*test.results[0].predicted == doctest::Approx(of("", "epyc-9554", 0.05, 0).tokens_per_s));
  CHECK(*test.results[2].predicted == doctest::Approx(of("", "epyc-7763", 0.03, 0).tokens_per_s));
  CHECK(*test.results[3].predicted == doctest::Approx(of("", "epyc-9554", 0.04, 0.4).tokens_per_s));
}

TEST_CASE("prompts beside a card: experts that are copied for a pass, and products of the processors") {
  const ActiveWeights w = active_weights(plan_of("deepseek-v3"));
  CHECK(w.all_routed == w.routed * 256 / 8);
  const auto streamed = [&](const std::string& id, std::int64_t rows, double bytes_per_s) {
    Published p = result(id, "epyc-9554", 10);
    p.card = "rtx-4090";
    p.prompt_streams = true;
    p.prompt_rows = rows;
    p.prompt_per_s = static_cast<double>(rows) / (w.all_routed / 2 / bytes_per_s);
    return p;
  };
  const auto computed = [&](const std::string& id, const std::string& machine, double per_cycle) {
    const MachineSpec m = find_machine(machine);
    Published p = result(id, machine, 10);
    p.card = "rtx-4090";
    p.prompt_per_s = per_cycle * m.n_cores() * m.clock_ghz.value * 1e9 / w.routed;
    return p;
  };
  const std::vector<Published> all = {streamed("a", 512, 15e9),       streamed("b", 4096, 15e9),
                                      streamed("c", 2048, 15e9),      computed("d", "epyc-9554", 20),
                                      computed("e", "epyc-9354", 20), computed("f", "epyc-7763", 25)};
  const Backtest test = backtest(all, plan_of);
  CHECK(test.card_prompts.n == 6);
  CHECK(test.prompts.n == 0);
  for (std::size_t i = 0; i < 3; ++i) CHECK(test.results[i].prompt_error() == doctest::Approx(0).epsilon(1e-9));
  CHECK(*test.results[3].prompt == doctest::Approx(all[3].prompt_per_s * 22.5 / 20));
  CHECK(*test.results[5].prompt == doctest::Approx(all[5].prompt_per_s * 20 / 25));
}

TEST_CASE("the published results: at least 15, and how far off the model is") {
  const std::vector<Published> all = parse_published(published_text(), "published.json");
  CHECK(all.size() >= 15);
  const Backtest test = backtest(all, plan_of);
  CHECK(test.tokens.n >= 15);
  CHECK(test.prompts.n >= 6);
  for (const Tested& t : test.results) {
    CAPTURE(t.published.id);
    CHECK(t.bytes_ms > 0);
    CHECK(t.rest_ms > 0);  // nobody is faster than memory
    CHECK(!t.published.source.empty());
  }
  // What bench/PLAN.md states; a change of the model that makes it worse has to say so.
  CHECK(test.tokens.mean < 0.20);
  CHECK(test.prompts.mean < 0.35);
  CHECK(test.card_prompts.n >= 8);
  CHECK(test.card_prompts.mean < 0.35);
}

TEST_CASE("a prompt beside a card says where its experts were") {
  const auto with = [](const std::string& more) {
    return R"({"dodeca_results":1,"results":[{"id":"a","engine":"b","machine":"epyc-9554","card":"rtx-4090",)"
           R"("shape":"deepseek-v3","types":"t","routed_bits":4,"other_bits":4,"recipe":"Q4_K","depth":0,)"
           R"("tokens_per_s":10,"source":"s")" +
           more + "}]}";
  };
  CHECK(parse_published(with(""), "p").front().prompt_per_s == 0);
  CHECK(!parse_published(with(R"(,"prompt_tokens_per_s":9,"prompt_experts":"processors")"), "p")[0].prompt_streams);
  CHECK(parse_published(with(R"(,"prompt_tokens_per_s":9,"prompt_experts":"card","prompt_rows":512)"), "p")[0]
            .prompt_rows == 512);
  for (const char* more :
       {R"(,"prompt_tokens_per_s":9)", R"(,"prompt_experts":"card")",
        R"(,"prompt_tokens_per_s":9,"prompt_experts":"disk")", R"(,"prompt_tokens_per_s":9,"prompt_experts":"card")",
        R"(,"prompt_tokens_per_s":9,"prompt_experts":"card","prompt_rows":0)",
        R"(,"prompt_tokens_per_s":9,"prompt_experts":"card","prompt_rows":0.5)",
        R"(,"prompt_tokens_per_s":9,"prompt_experts":"processors","prompt_rows":512)"}) {
    CAPTURE(more);
    CHECK_THROWS_WITH_AS(parse_published(with(more), "p"), doctest::Contains("prompt_"), Error);
  }
}

TEST_CASE("results that are no results") {
  for (const char* text :
       {"", "[]", "{}", R"({"dodeca_results":2,"results":[]})", R"({"dodeca_results":1,"results":{}})",
        R"({"dodeca_results":1,"results":[{"id":"a"}]})", R"({"dodeca_results":1,"results":[3]})",
        R"({"dodeca_results":1,"results":[{"name":"a"}]})"}) {
    CAPTURE(text);
    CHECK_THROWS_WITH_AS(parse_published(text, "published.json"), doctest::Contains("published.json"), Error);
  }
}
