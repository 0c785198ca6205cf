// The forms of latent attention: prompt rows decompress keys and values, generated rows stay in the latent space.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

#include "tests/support/demo_model.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using quant::DType;

std::vector<int> some_ids(int n, int vocab) {
  std::vector<int> ids;
  for (int i = 0; i < n; ++i)
    ids.push_back(static_cast<int>((static_cast<unsigned>(i + 3) * 2654435761u) >> 9) % vocab);
  return ids;
}

std::vector<runtime::Row> prompt_of(const std::vector<int>& ids, std::int32_t sequence = 0, std::int32_t begin = 0) {
  std::vector<runtime::Row> rows = rows_of(ids, sequence, begin);
  for (runtime::Row& row : rows) row.prompt = true;
  return rows;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float> logits_of(runtime::Executor& executor, const std::vector<runtime::Row>& rows,
                             cpu::Team* team = nullptr) {
  executor.cache().truncate(0, 0);
  runtime::ForwardOutput out;
  executor.forward(rows, out, team);
  return out.logits;
}

TEST_CASE("prompt rows: no bit depends on threads, micro-batch or companions") {
  LoadedDemo demo({});
  const auto vocab = static_cast<int>(demo.model->config().vocab_size);
  const std::vector<int> ids = some_ids(300, vocab);
  for (const DType dtype : {DType::kF16, DType::kQ8_0}) {
    runtime::Executor whole(*demo.model, demo.team, {.n_positions = 1024, .n_sequences = 2, .cache_type = dtype});
    const std::vector<float> want = logits_of(whole, prompt_of(ids));
    cpu::Team three(3);
    CHECK(same_bits(want, logits_of(whole, prompt_of(ids), &three)));
    runtime::Executor cut(*demo.model, demo.team, {.n_positions = 1024, .micro_batch = 37, .cache_type = dtype});
    CHECK(same_bits(want, logits_of(cut, prompt_of(ids))));

    // In two calls, each with a generated row of another sequence in front of it.
    runtime::ForwardOutput out;
    std::vector<float> together;
    whole.cache().truncate(0, 0);
    for (int part = 0; part < 2; ++part) {
      std::vector<runtime::Row> rows = rows_of({ids[static_cast<std::size_t>(part)]}, 1, part);
      const std::vector<int> half(ids.begin() + part * 150, ids.begin() + part * 150 + 150);
      for (const runtime::Row& row : prompt_of(half, 0, part * 150)) rows.push_back(row);
      whole.forward(rows, out);
      together.insert(together.end(), out.logits.begin() + vocab, out.logits.end());
    }
    CHECK(same_bits(want, together));
  }
}

TEST_CASE("both forms are the attention of the paper, as close as their numbers allow") {
  LoadedDemo demo({.compute_f32 = true});
  const auto vocab = static_cast<std::size_t>(demo.model->config().vocab_size);
  const std::vector<int> ids = some_ids(270, static_cast<int>(vocab));
  runtime::Executor naive(*demo.model, demo.team, {.n_positions = 512, .cache_type = DType::kF32, .naive_mla = true});
  const std::vector<float> want = logits_of(naive, rows_of(ids));
  // Of a random text; a single token may move further where an expert's score decides.
  for (const auto& [dtype, bound] : {std::pair{DType::kF16, 0.002}, std::pair{DType::kQ8_0, 0.06}}) {
    runtime::Executor executor(*demo.model, demo.team, {.n_positions = 512, .cache_type = dtype});
    for (const bool prompt : {false, true}) {
      const std::vector<float> got = logits_of(executor, prompt ? prompt_of(ids) : rows_of(ids));
      double mean = 0;
      for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
        const auto next = static_cast<std::size_t>(ids[i + 1]);
        mean += std::abs(log_prob(got, vocab, i, next) - log_prob(want, vocab, i, next)) /
                static_cast<double>(ids.size() - 1);
      }
      INFO(std::string(quant::name_of(dtype)) << (prompt ? " decompressed" : " absorbed"));
      MESSAGE("mean difference of a log-probability: ", mean);
      CHECK(mean < bound);
    }
  }
}

}  // namespace
