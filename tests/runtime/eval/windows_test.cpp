#include "runtime/eval/windows.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "runtime/base/error.hpp"

using namespace dodeca::runtime;
using namespace dodeca::runtime::eval;

namespace {

constexpr std::int64_t kVocab = 7;

// A model whose logits spell out what it has seen: [last token, number of tokens, sum of tokens, ...].
struct FakeModel {
  std::vector<std::vector<std::int32_t>> sequences;
  std::vector<std::size_t> call_sizes;
  EvalModel eval;

  FakeModel(std::int32_t n_sequences, std::int64_t rows_per_call) : sequences(static_cast<std::size_t>(n_sequences)) {
    eval.vocab_size = kVocab;
    eval.rows_per_call = rows_per_call;
    eval.n_sequences = n_sequences;
    eval.clear = [this](std::int32_t sequence) { sequences[static_cast<std::size_t>(sequence)].clear(); };
    eval.parallel = [](std::int64_t n, const std::function<void(std::int64_t)>& body) {
      for (std::int64_t i = 0; i < n; ++i) body(i);
    };
    eval.forward = [this](std::span<const exec::Row> rows, exec::ForwardOutput& out) {
      call_sizes.push_back(rows.size());
      out.logits.clear();
      for (const exec::Row& row : rows) {
        auto& sequence = sequences[static_cast<std::size_t>(row.sequence)];
        REQUIRE(row.position == static_cast<std::int32_t>(sequence.size()));
        sequence.push_back(row.token);
        if (!row.wants_logits) continue;
        float sum = 0;
        for (const std::int32_t token : sequence) sum = sum * 2 + static_cast<float>(token);
        out.logits.insert(out.logits.end(),
                          {static_cast<float>(row.token), static_cast<float>(sequence.size()), sum, 0, 0, 0, 0});
      }
    };
  }
};

std::vector<std::int32_t> some_tokens(std::int64_t n) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<std::int32_t>((i * i + 3 * i) % kVocab));
  return tokens;
}

}  // namespace

TEST_CASE("every prediction of every window comes once, in order, with the context of its own window only") {
  for (const std::int64_t n_ctx : {2, 3, 5, 8, 16}) {
    for (const std::int64_t rows_per_call : {1, 2, 4, 7, 8, 64}) {
      for (const std::int64_t first : {std::int64_t{0}, n_ctx / 2}) {
        if (n_ctx - 1 - first < 1) continue;
        CAPTURE(n_ctx);
        CAPTURE(rows_per_call);
        const auto tokens = some_tokens(n_ctx * 5 + 3);
        const Windows windows{tokens, n_ctx, 5, first, std::nullopt};
        FakeModel model(sequences_for(n_ctx, rows_per_call, 5), rows_per_call);
        std::int64_t expected_window = 0, expected_position = first, n = 0;
        run_windows(model.eval, windows, [&](std::span<const Prediction> predictions) {
          for (const Prediction& p : predictions) {
            REQUIRE(p.window == expected_window);
            REQUIRE(p.position == expected_position);
            REQUIRE(p.target == tokens[static_cast<std::size_t>(p.window * n_ctx + p.position + 1)]);
            float sum = 0;
            for (std::int64_t i = 0; i <= p.position; ++i)
              sum = sum * 2 + static_cast<float>(tokens[static_cast<std::size_t>(p.window * n_ctx + i)]);
            REQUIRE(p.logits.size() == kVocab);
            REQUIRE(p.logits[1] == static_cast<float>(p.position + 1));
            REQUIRE(p.logits[2] == sum);
            ++n;
            if (++expected_position == n_ctx - 1) {
              expected_position = first;
              ++expected_window;
            }
          }
        });
        CHECK(n == 5 * windows.scored_per_window());
        CHECK(*std::max_element(model.call_sizes.begin(), model.call_sizes.end()) <=
              static_cast<std::size_t>(rows_per_call));
      }
    }
  }
}

TEST_CASE("short windows fill the calls") {
  const auto tokens = some_tokens(5 * 100);
  FakeModel model(sequences_for(5, 64, 100), 64);
  run_windows(model.eval, {tokens, 5, 100, 0, std::nullopt}, [](std::span<const Prediction>) {});
  CHECK(model.call_sizes.size() == 7);  // 400 rows
  CHECK(std::all_of(model.call_sizes.begin(), model.call_sizes.end() - 1, [](std::size_t n) { return n == 64; }));
}

TEST_CASE("BOS takes the place of each window's first token, and targets stay") {
  const auto tokens = some_tokens(12);
  FakeModel model(2, 3);
  std::vector<std::int32_t> targets;
  run_windows(model.eval, {tokens, 4, 3, 0, 6}, [&](std::span<const Prediction> predictions) {
    for (const Prediction& p : predictions) {
      if (p.position == 0) CHECK(p.logits[0] == 6.0f);
      targets.push_back(p.target);
    }
  });
  CHECK(targets == std::vector<std::int32_t>{tokens[1], tokens[2], tokens[3], tokens[5], tokens[6], tokens[7],
                                             tokens[9], tokens[10], tokens[11]});
}

TEST_CASE("ids outside the vocabulary are refused before anything runs") {
  FakeModel model(1, 8);
  for (const std::int32_t wrong : {-1, 7, 1000000}) {
    std::vector<std::int32_t> tokens{0, 1, wrong, 3};
    CHECK_THROWS_AS(run_windows(model.eval, {tokens, 4, 1, 0, std::nullopt}, [](std::span<const Prediction>) {}),
                    Error);
  }
  CHECK(model.call_sizes.empty());
}
