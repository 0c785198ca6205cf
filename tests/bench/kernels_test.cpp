#include <doctest/doctest.h>

#include <algorithm>

#include "bench/cmd_kernels.hpp"
#include "bench/kernel_bench.hpp"

using namespace dodeca;
using namespace dodeca::bench;
using quant::DType;

TEST_CASE("every variant at or below a level is measured, gemm variants from 9 columns on") {
  CHECK(kernels_to_measure({}, cpu::Isa::kAvx512Bf16, 1, false).size() == cpu::gemv_kernels().size());
  CHECK(kernels_to_measure({}, cpu::Isa::kAvx512Bf16, 9, false).size() == cpu::gemm_kernels().size());
  for (const cpu::MatmulKernel* variant : kernels_to_measure({DType::kQ2_K}, cpu::Isa::kAvx2, 8, false)) {
    CHECK(variant->dtype == DType::kQ2_K);
    CHECK(cpu::Isa::kAvx2.has(variant->isa));
    CHECK(variant->name.starts_with("gemv"));
  }
  const auto best = kernels_to_measure({DType::kQ2_K, DType::kQ6_K}, cpu::Isa::kAvx512Bf16, 128, true);
  REQUIRE(best.size() == 2);
  CHECK(best[0] == cpu::select_matmul(best[0]->dtype, cpu::Isa::kAvx512Bf16).gemm);
}

TEST_CASE("rates come out for narrow and wide weights, one and two members") {
  for (const int n : {1, 2}) {
    cpu::Team team(n);
    KernelBench bench(team, {.isa = cpu::host_isa(),
                             .buffer_bytes = std::size_t{4} << 20,
                             .cache_bytes = std::size_t{128} << 10,
                             .n_in = 512,
                             .seconds = 0.002});
    for (const DType dtype : {DType::kQ2_K, DType::kF32}) {
      bench.use(dtype, 16);
      CHECK(bench.bytes_per_weight() > (dtype == DType::kF32 ? 3.9 : 0.32));
      CHECK(bench.bytes_per_weight() < (dtype == DType::kF32 ? 4.1 : 0.36));
      const cpu::MatmulChoice scalar = cpu::select_matmul(dtype, cpu::Isa::kScalar);
      const cpu::MatmulChoice host = cpu::select_matmul(dtype, cpu::host_isa());
      CHECK_NOTHROW(bench.check(*host.gemv, *scalar.gemv, 1));
      CHECK_NOTHROW(bench.check(*host.gemm, *scalar.gemv, 16));
      const cpu::PeakKernel& peak = *cpu::select_peak(cpu::PeakKind::kF32, cpu::host_isa());
      CHECK(bench.from_cache(*host.gemv, 1, peak).weights_per_s > 0);
      CHECK(bench.from_cache(*host.gemm, 16, peak).peak_macs_per_s > 0);
      const KernelBench::FromMemory memory = bench.from_memory(*host.gemv, 1);
      CHECK(memory.weights_per_s > 0);
      CHECK(memory.read_bytes_per_s > 0);
    }
  }
}

TEST_CASE("a variant that gives other results is not measured") {
  cpu::Team team(1);
  KernelBench bench(team, {.isa = cpu::host_isa(),
                           .buffer_bytes = std::size_t{1} << 20,
                           .cache_bytes = std::size_t{64} << 10,
                           .n_in = 256,
                           .seconds = 0.001});
  bench.use(DType::kF32, 1);
  const cpu::MatmulKernel& scalar = *cpu::select_matmul(DType::kF32, cpu::Isa::kScalar).gemv;
  cpu::MatmulKernel wrong = scalar;
  wrong.name = "wrong";
  wrong.run = [](const cpu::MatmulArgs& args) noexcept { args.out[0] = 12345; };
  CHECK_THROWS(bench.check(wrong, scalar, 1));
}
