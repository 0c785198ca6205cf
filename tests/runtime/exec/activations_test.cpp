#include "runtime/exec/activations.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "cpu/kernels/matmul/matmul.hpp"

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::runtime::exec;

TEST_CASE("rows as wide as the widest reader: the format of a narrower one stays inside its row") {
  // V2-Lite: dense rows of 10944 are no multiple of 256, the shared expert's 2816 are.
  constexpr std::int64_t kWide = 10944, kNarrow = 2816;
  const cpu::ActFormat format = cpu::layout_of(quant::DType::kQ6_K).act;
  ActFormats formats;
  formats.add(cpu::layout_of(quant::DType::kQ5_1).act);
  formats.add(format);
  Activations rows(3, kWide, formats);
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t k = 0; k < rows.width(); ++k) rows.row(i)[k] = static_cast<float>((i + 1) * (k % 17 - 8));
  }
  const auto copy = [&](std::int64_t i) {
    const std::byte* begin = rows.data(format, i);
    return std::vector<std::byte>(begin, begin + cpu::act_row_bytes(format, kNarrow));
  };
  for (const cpu::Isa isa : {cpu::Isa::kScalar, cpu::host_isa()}) {
    rows.quantize(1, kNarrow, isa);
    const std::vector<std::byte> before = copy(1);
    cpu::Buffer want(before.size());
    cpu::quantize_act(format, rows.row(1), kNarrow, want.data(), isa);
    CHECK(std::memcmp(before.data(), want.data(), before.size()) == 0);
    rows.quantize(0, rows.width(), isa);
    CHECK(copy(1) == before);
    std::memset(const_cast<std::byte*>(rows.data(format, 1)), 0, before.size());
    for (std::int64_t block = 0; block < blocks_of(kNarrow); ++block) rows.quantize_block(1, block, kNarrow, isa);
    CHECK(copy(1) == before);
    rows.quantize_block(0, blocks_of(rows.width()) - 1, rows.width(), isa);
    CHECK(copy(1) == before);
  }
}
