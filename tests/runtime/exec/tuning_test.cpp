// Which kernels multiply is about speed only.
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/runtime/exec/exec_fixture.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::runtime::exec;
using quant::DType;

TEST_CASE("every tuning gives the same bits") {
  const cpu::Isa level = cpu::host_isa().has(cpu::Isa::kAvx2) ? cpu::Isa::kAvx2 : cpu::Isa::kScalar;
  const auto logits = [](const cpu::MatmulTuning& tuning) {
    LoadedDemo demo({.tuning = tuning});
    const int vocab = static_cast<int>(demo.model->config().vocab_size);
    Executor executor(*demo.model, demo.team, {.n_positions = 1024, .micro_batch = 20});
    std::vector<float> all = logits_of(executor, prompt_of(some_ids(45, vocab)));  // 20, 20 and 5 rows
    ForwardOutput out;
    for (const int rows : {1, 3, 10}) {
      const auto begin = static_cast<std::int32_t>(executor.cache().length(0));
      executor.forward(rows_of(some_ids(rows, vocab, 7), 0, begin), out);
      all.insert(all.end(), out.logits.begin(), out.logits.end());
    }
    return all;
  };
  const std::vector<float> rule = logits({});
  for (const std::int64_t rows : {2, 4, 33}) {
    cpu::MatmulTuning tuning;
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF8_E4M3_B128})
      tuning.push_back({dtype, level, level, rows});
    CHECK(same_bits(rule, logits(tuning)));
  }
}

}  // namespace
