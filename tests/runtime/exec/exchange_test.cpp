// A model whose parts are in executors of their own gives the bits of one executor with all parts: rows that are
// generated and prompts, every kind of block, quantized and float32, even and uneven shares.
#include "runtime/exec/exchange.hpp"

#include <doctest/doctest.h>

#include <barrier>
#include <cstring>
#include <thread>

#include "tests/runtime/exec/exec_fixture.hpp"
#include "tests/runtime/exec/random_slice.hpp"
#include "tests/support/memory_source.hpp"
#include "tests/support/small_gqa_config.hpp"

namespace dodeca::runtime::exec {
namespace {

using namespace tests;
using quant::DType;

// Processes as threads: what one has is copied to the others.
class Meeting {
 public:
  explicit Meeting(std::size_t n) : lists_(n), barrier_(static_cast<std::ptrdiff_t>(n)) {}
  void share(std::size_t here, std::span<const Region> regions) {
    lists_[here] = regions;
    barrier_.arrive_and_wait();
    for (std::size_t r = 0; r < regions.size(); ++r) {
      const auto part = static_cast<std::size_t>(regions[r].part);
      if (part == here) continue;
      const Region &to = regions[r], &from = lists_[part][r];
      for (std::int64_t i = 0; i < to.n_rows; ++i)
        std::memcpy(to.data + static_cast<std::size_t>(i) * to.stride,
                    from.data + static_cast<std::size_t>(i) * from.stride, to.bytes);
    }
    barrier_.arrive_and_wait();
  }

 private:
  std::vector<std::span<const Region>> lists_;
  std::barrier<> barrier_;
};

class MeetingExchange final : public Exchange {
 public:
  MeetingExchange(Meeting& meeting, std::size_t here) : meeting_(meeting), here_(here) {}
  bool share(std::span<const Region> regions) noexcept override {
    meeting_.share(here_, regions);
    return true;
  }
  void check() override {}

 private:
  Meeting& meeting_;
  std::size_t here_;
};

// The others are lost at the n-th exchange.
class BreakingExchange final : public Exchange {
 public:
  explicit BreakingExchange(int n) : n_(n) {}
  bool share(std::span<const Region>) noexcept override { return ++n_exchanges < n_; }
  void check() override {
    if (n_exchanges >= n_) throw Error(ErrorKind::kIo, "lost");
  }
  int n_exchanges = 0;

 private:
  int n_;
};

// A prompt of some tokens, then rows one by one and several at once, of two sequences.
std::vector<float> logits_of_both_ways(Executor& executor, int vocab) {
  std::vector<float> logits = logits_of(executor, prompt_of(some_ids(21, vocab)));
  ForwardOutput out;
  const std::vector<int> ids = some_ids(24, vocab, 3);
  for (int begin = 0, n = 1; begin < 24; begin += n, n = n % 4 + 1) {
    const auto rows = rows_of({ids.begin() + begin, ids.begin() + std::min(24, begin + n)}, 0, 21 + begin);
    executor.forward(rows, out);
    logits.insert(logits.end(), out.logits.begin(), out.logits.end());
  }
  executor.cache().fork(0, 1, 30);
  executor.forward(rows_of({5}, 1, 30), out);
  logits.insert(logits.end(), out.logits.begin(), out.logits.end());
  return logits;
}

// The bits of all parts in one executor, and of each in its own.
void check_bits(const WeightSource& source, PlanOptions options, DType cache_type = DType::kF16) {
  const auto n_parts = options.shares.size();
  ExecutorOptions run{.n_positions = 256,
                      .n_sequences = 2,
                      .micro_batch = 16,
                      .cache_type = cache_type,
                      .integer_attention = !options.compute_f32};
  const int vocab = static_cast<int>(source.config().vocab_size);
  cpu::Team team(2);
  const auto whole = load_model(source, team, options);
  Executor all(*whole, team, run);
  const std::vector<float> want = logits_of_both_ways(all, vocab);

  Meeting meeting(n_parts);
  std::vector<std::vector<float>> got(n_parts);
  std::vector<PlacedSum> sums(n_parts);
  std::vector<std::thread> processes;
  for (std::size_t p = 0; p < n_parts; ++p) {
    processes.emplace_back([&, p] {
      cpu::Team own(p == 1 ? 2 : 1);
      own.set_idle_spin(std::chrono::microseconds(0));  // all of them share the processors
      PlanOptions planned = options;
      planned.here = static_cast<int>(p);
      const auto model = Model::load(source, make_plan(source, this_machine(), planned), own,
                                     {.complete =
                                          [&](const PlacedSum& sum) {
                                            sums[p] = sum;
                                            return sum;
                                          }},
                                     kSilent);
      ExecutorOptions here = run;
      here.exchange = std::make_shared<MeetingExchange>(meeting, p);
      Executor executor(*model, own, here);
      got[p] = logits_of_both_ways(executor, vocab);
    });
  }
  for (std::thread& process : processes) process.join();
  PlacedSum contents;
  for (const PlacedSum& sum : sums) contents.add(sum);
  CHECK(contents.value() == whole->contents());
  for (const std::vector<float>& logits : got) CHECK(same_bits(logits, want));
}

}  // namespace

TEST_CASE("parts in executors of their own: quantized models of V3's and V2-Lite's widths") {
  const auto wide = random_slice(slice_of("deepseek-v3")), narrow = random_slice(slice_of("deepseek-v2-lite"));
  check_bits(*wide, {.shares = equal_shares(2)});
  check_bits(*wide, {.shares = {3.0, 1.0, 2.0}});
  check_bits(*narrow, {.shares = equal_shares(3)});
  check_bits(*narrow, {.shares = equal_shares(4)});
}

TEST_CASE("parts in executors of their own: the demo model") {
  const auto source = open_weights(kDemoModel, {}, kSilent);
  for (const int n : {2, 3, 4}) check_bits(*source, {.shares = equal_shares(n)});
}

TEST_CASE("parts in executors of their own: float32, odd shapes, parts without heads") {
  ModelConfig c = small_mla_config(1, 1);
  c.n_heads = 6;
  c.n_shared_experts = 1;
  c.attention_bias = true;
  ModelConfig wide = small_mla_config(1, 1);
  wide.n_heads = 40;  // strips of heads in two parts
  for (const ModelConfig& config : {c, wide}) {
    const MemorySource source(config, 11);
    for (const Shares& shares : {equal_shares(2), equal_shares(3), equal_shares(8), {1.0, 4.0}}) {
      check_bits(source, {.compute_f32 = true, .shares = shares}, DType::kF32);
      check_bits(source, {.shares = shares});
    }
  }
}

TEST_CASE("parts in executors of their own: grouped queries, norms over heads and over all of a row") {
  for (const QkNorm norm : {QkNorm::kNone, QkNorm::kPerHead, QkNorm::kWhole}) {
    ModelConfig c = small_gqa_config(norm);
    if (norm == QkNorm::kPerHead) c.head_dim = 24;  // heads share tiles
    const MemorySource source(c, 11);
    for (const Shares& shares : {equal_shares(2), equal_shares(3), equal_shares(8), {1.0, 4.0}}) {
      check_bits(source, {.compute_f32 = true, .shares = shares}, DType::kF32);
      check_bits(source, {.shares = shares});
    }
  }
}

TEST_CASE("parts in executors of their own: sparse attention chooses alike in all of them") {
  ModelConfig c = small_mla_config(2, 2);
  c.n_heads = 6;
  c.layers[1].has_indexer = false;
  c.indexer = {.n_heads = 5, .head_dim = 32, .top_k = 9};
  const MemorySource source(c, 11);
  for (const Shares& shares : {equal_shares(2), equal_shares(3), Shares{1.0, 4.0}}) {
    check_bits(source, {.compute_f32 = true, .shares = shares}, DType::kF32);
    check_bits(source, {.shares = shares});
  }
}

TEST_CASE("a pass that several processes share is not stopped by one of them") {
  const auto source = open_weights(kDemoModel, {}, kSilent);
  cpu::Team team(2);
  const auto model = load_model(*source, team, {.shares = equal_shares(2), .here = 0});
  Executor executor(*model, team, {.n_positions = 64, .exchange = std::make_shared<BreakingExchange>(1 << 20)});
  int asked = 0;
  executor.set_stop([&] { return ++asked > 0; });
  ForwardOutput out;
  executor.forward(prompt_of(some_ids(21, 100)), out);
  CHECK(asked == 0);
  CHECK(executor.cache().length(0) == 21);
}

TEST_CASE("a pass ends with the phase whose exchange failed") {
  const auto source = open_weights(kDemoModel, {}, kSilent);
  cpu::Team team(2);
  const auto model = load_model(*source, team, {.shares = equal_shares(2), .here = 0});
  for (const bool prompt : {true, false}) {
    for (const int n : {1, 2, 3, 4, 7}) {
      const auto exchange = std::make_shared<BreakingExchange>(n);
      Executor executor(*model, team, {.n_positions = 64, .exchange = exchange});
      std::vector<Row> rows = prompt_of(some_ids(21, 100));
      if (!prompt) rows = rows_of({1, 2, 3}, 0, 0);
      ForwardOutput out;
      CHECK_THROWS_AS(executor.forward(rows, out), Error);
      CHECK(exchange->n_exchanges == n);
    }
  }
}

}  // namespace dodeca::runtime::exec
