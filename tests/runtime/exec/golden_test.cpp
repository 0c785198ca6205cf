// The demo against Hugging Face transformers in float32 (tests/golden/golden.json; script
// bench/demo/recipe/reference.py).
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/runtime/exec/naive_mla.hpp"
#include "tests/support/demo_model.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime::exec;

void check_golden(bool naive) {
  const nlohmann::json golden = read_golden();
  LoadedDemo demo({.compute_f32 = true});
  Executor executor(*demo.model, demo.team,
                    naive ? naive_attention(*demo.model, 1024)
                          : ExecutorOptions{.n_positions = 1024, .cache_type = quant::DType::kF32});
  const auto vocab = static_cast<std::size_t>(demo.model->config().vocab_size);
  double worst = 0.0;
  for (const auto& c : golden["cases"]) {
    const auto ids = c["ids"].get<std::vector<int>>();
    executor.cache().truncate(0, 0);
    ForwardOutput out;
    executor.forward(rows_of(ids), out);
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const double diff = std::abs(log_prob(out.logits, vocab, i, static_cast<std::size_t>(ids[i + 1])) -
                                   c["token_logprobs"][i].get<double>());
      CHECK(diff < 2e-3);
      worst = std::max(worst, diff);
    }
    std::vector<int> greedy;
    for (int step = 0; step < 24; ++step) {
      const auto last = out.logits.end() - static_cast<std::ptrdiff_t>(vocab);
      greedy.push_back(static_cast<int>(std::max_element(last, out.logits.end()) - last));
      executor.forward(rows_of({greedy.back()}, 0, static_cast<std::int32_t>(ids.size()) + step), out);
    }
    CHECK(greedy == c["greedy24"].get<std::vector<int>>());
  }
  MESSAGE("largest difference of a log-probability: ", worst);
}

TEST_CASE("absorbed attention reproduces the reference") { check_golden(false); }
TEST_CASE("naive attention reproduces the reference") { check_golden(true); }

}  // namespace
