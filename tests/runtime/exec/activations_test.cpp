#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "runtime/exec/multiply.hpp"

using namespace dodeca;
using namespace dodeca::runtime;

namespace {

PackedMatrix reader(quant::DType dtype, std::int64_t n_in) {
  PackedMatrix weight;
  weight.layout = &cpu::layout_of(dtype);
  weight.n_in = n_in;
  return weight;
}

}  // namespace

TEST_CASE("rows as wide as the widest reader: the format of a narrower one stays inside its row") {
  // V2-Lite: dense rows of 10944 are no multiple of 256, the shared expert's 2816 are.
  const PackedMatrix wide = reader(quant::DType::kQ5_1, 10944), narrow = reader(quant::DType::kQ6_K, 2816);
  Activations rows(3, 10944);
  rows.wanted_by(wide);
  rows.wanted_by(narrow);
  rows.allocate();
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t k = 0; k < rows.width(); ++k) rows.row(i)[k] = static_cast<float>((i + 1) * (k % 17 - 8));
  }
  const cpu::ActFormat format = narrow.layout->act;
  const auto copy = [&](std::int64_t i) {
    const std::byte* begin = rows.data(format) + static_cast<std::size_t>(i) * rows.stride(format);
    return std::vector<std::byte>(begin, begin + cpu::act_row_bytes(format, narrow.n_in));
  };
  for (const cpu::Isa isa : {cpu::Isa::kScalar, cpu::host_isa()}) {
    rows.quantize(1, narrow.n_in, isa);
    const std::vector<std::byte> before = copy(1);
    cpu::Buffer want(before.size());
    cpu::quantize_act(format, rows.row(1), narrow.n_in, want.data(), isa);
    CHECK(std::memcmp(before.data(), want.data(), before.size()) == 0);
    rows.quantize(0, isa);
    CHECK(copy(1) == before);
  }
}
