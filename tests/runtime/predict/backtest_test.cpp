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
  REQUIRE(test.n == 4);
  for (int i = 0; i < 3; ++i)
    CHECK(test.results[static_cast<std::size_t>(i)].error() == doctest::Approx(0).epsilon(1e-9));
  CHECK(test.worst == "d");
  CHECK(test.worst_error == doctest::Approx(*test.results[3].predicted / all[3].tokens_per_s - 1));
  CHECK(test.mean_error == doctest::Approx(test.worst_error / 4));
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

TEST_CASE("the published results: at least 15, and how far off the model is") {
  const std::vector<Published> all = parse_published(published_text(), "published.json");
  CHECK(all.size() >= 15);
  const Backtest test = backtest(all, plan_of);
  CHECK(test.n >= 15);
  CHECK(test.n_prompts >= 6);
  for (const Tested& t : test.results) {
    CAPTURE(t.published.id);
    CHECK(t.bytes_ms > 0);
    CHECK(t.rest_ms > 0);  // nobody is faster than memory
    CHECK(!t.published.source.empty());
  }
  // What bench/PLAN.md states; a change of the model that makes it worse has to say so.
  CHECK(test.mean_error < 0.20);
  CHECK(test.mean_prompt_error < 0.35);
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
