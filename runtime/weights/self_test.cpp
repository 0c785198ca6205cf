#include "runtime/weights/self_test.hpp"

#include <bit>
#include <cmath>
#include <set>

#include "cpu/kernels/quantize_act/quantize_act.hpp"
#include "cpu/memory.hpp"
#include "quant/dtype.hpp"
#include "runtime/base/error.hpp"
#include "runtime/model/random_blocks.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::int64_t kColumns = 512;  // whole blocks of every type
constexpr std::int64_t kMaxRows = 13;
constexpr double kDeviation = 0.02;  // of the weights, as in real layers

struct Trial {
  cpu::Buffer tile, acts, scratch;
  std::size_t act_stride;
};

Trial make_trial(quant::DType dtype, const cpu::Layout& layout) {
  Trial trial{.tile = cpu::Buffer(layout.tile_bytes(kColumns)),
              .acts = {},
              .scratch = cpu::Buffer(cpu::matmul_scratch_bytes(kColumns)),
              .act_stride = cpu::act_row_bytes(layout.act, kColumns)};
  const std::vector<std::byte> blocks = random_rows(dtype, cpu::kTileRows, kColumns, kDeviation, 1);
  const std::byte* rows[cpu::kTileRows];
  for (std::size_t r = 0; r < cpu::kTileRows; ++r) rows[r] = blocks.data() + r * (blocks.size() / cpu::kTileRows);
  layout.pack(rows, kColumns, trial.tile.data());

  trial.acts = cpu::Buffer(static_cast<std::size_t>(kMaxRows) * trial.act_stride);
  std::vector<float> x(kColumns);
  for (std::int64_t i = 0; i < kMaxRows; ++i) {
    for (std::size_t k = 0; k < x.size(); ++k)
      x[k] =
          static_cast<float>(static_cast<double>(mix64(static_cast<std::uint64_t>(i) << 32 | k) >> 11) * 0x1p-52 - 1.0);
    // By the scalar variant, so that only the product is on trial.
    cpu::quantize_act(layout.act, x.data(), kColumns,
                      trial.acts.data() + static_cast<std::size_t>(i) * trial.act_stride, cpu::Isa::kScalar);
  }
  return trial;
}

std::vector<float> multiply(const cpu::MatmulKernel& kernel, const cpu::Layout& layout, Trial& trial, std::int64_t n) {
  std::vector<float> out(static_cast<std::size_t>(n * cpu::kTileRows), std::nanf(""));
  kernel.run({.layout = &layout,
              .weights = trial.tile.data(),
              .n_in = kColumns,
              .n_out = cpu::kTileRows,
              .tile_begin = 0,
              .tile_end = 1,
              .acts = trial.acts.data(),
              .act_stride = trial.act_stride,
              .act_rows = nullptr,
              .n_acts = n,
              .out = out.data(),
              .out_stride = cpu::kTileRows,
              .scratch = trial.scratch.data()});
  return out;
}

bool agree(cpu::Match match, float got, float want) {
  if (match == cpu::Match::kExact) return std::bit_cast<std::uint32_t>(got) == std::bit_cast<std::uint32_t>(want);
  // Both factors rounded to 8 bits: each product is off by 2^-8 of itself at most twice; 512 of them of mixed sign.
  const double typical = kDeviation * std::sqrt(static_cast<double>(kColumns) / 3);
  return std::abs(static_cast<double>(got) - want) <= 0.05 * typical;
}

}  // namespace

void self_test(const cpu::MatmulKernel& kernel) {
  const cpu::Layout& layout = *quant::find_layout(kernel.dtype, kernel.layout);
  const cpu::MatmulKernel& scalar = *cpu::select_matmul(kernel.dtype, cpu::Isa::kScalar).gemv;
  Trial trial = make_trial(kernel.dtype, layout);
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{2}, std::int64_t{5}, kMaxRows}) {
    const std::vector<float> want = multiply(scalar, layout, trial, n), got = multiply(kernel, layout, trial, n);
    for (std::size_t i = 0; i < want.size(); ++i) {
      if (agree(kernel.match, got[i], want[i])) continue;
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("{} is wrong on this processor: {} instead of {} (row {}, activation {} of {})",
                              kernel.name, got[i], want[i], i % cpu::kTileRows, i / cpu::kTileRows, n))
          .with(Remedy::kLowerIsa);
    }
  }
}

void self_test(const Plan& plan) {
  std::set<const cpu::MatmulKernel*> kernels;
  for (const WeightPlan& weight : plan.weights) {
    for (const cpu::MatmulKernel* kernel : {weight.gemv, weight.gemm, weight.prompt}) {
      if (kernel != nullptr) kernels.insert(kernel);
    }
  }
  for (const cpu::MatmulKernel* kernel : kernels) self_test(*kernel);
}

}  // namespace dodeca::runtime
