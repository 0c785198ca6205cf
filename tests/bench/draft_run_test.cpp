// What drafts gain, and what the bytes would allow.
#include "bench/draft_run.hpp"

#include <doctest/doctest.h>

namespace dodeca::bench {

TEST_CASE("the gain of drafts and its bound") {
  // Ten steps for 17 tokens of one sequence: 1.7 tokens a step, which reads 1.4 times the bytes.
  const DraftRun run{.n_steps = 10,
                     .n_drafted = 10,
                     .n_accepted = 7,
                     .n_tokens = 17,
                     .experts_touched = 15.5,
                     .plain_bytes = 10e9,
                     .step_bytes = 14e9,
                     .plain_ns = {1e9, 5e9, 1.2e9},
                     .with_ns = {1e9, 0.9e9, 1.1e9}};
  CHECK(run.accepted() == doctest::Approx(0.7));
  CHECK(run.bound() == doctest::Approx(1.7 / 1.4));
  CHECK(run.gain() == doctest::Approx(1.2));
  CHECK(run.text("tg16") ==
        "tg16: 70.0 % of 10 drafts taken, 15.5 experts per layer, 1.20 times the speed without; the bytes allow 1.21: "
        "99 % "
        "of that\n");
  DraftRun two = run;  // sequences share the step, each has its own tokens
  two.n_sequences = 2;
  two.n_tokens = 34;
  CHECK(two.bound() == doctest::Approx(run.bound()));
}

}  // namespace dodeca::bench
