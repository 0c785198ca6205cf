#include "runtime/weights/self_test.hpp"

#include <doctest/doctest.h>

#include <string>

#include "runtime/base/error.hpp"

using namespace dodeca;

TEST_CASE("every kernel that this processor can run passes its trial") {
  int tried = 0;
  for (const auto& variants : {cpu::gemv_kernels(), cpu::gemm_kernels()}) {
    for (const cpu::MatmulKernel& variant : variants) {
      if (!cpu::host_isa().has(variant.isa)) continue;
      CAPTURE(variant.name);
      CHECK_NOTHROW(runtime::self_test(variant));
      ++tried;
    }
  }
  CHECK(tried > 40);
}

TEST_CASE("a kernel that is wrong is named, with the value") {
  const cpu::MatmulKernel wrong{"gemv_q4_k_broken", cpu::Isa::kScalar, quant::DType::kQ4_K, cpu::Match::kExact,
                                [](const cpu::MatmulArgs& args) noexcept {
                                  cpu::select_matmul(quant::DType::kQ4_K, cpu::Isa::kScalar).gemv->run(args);
                                  if (args.n_acts == 5) args.out[3 * args.out_stride + 7] += 1.0f;  // one of 80 values
                                }};
  std::string message;
  try {
    runtime::self_test(wrong);
  } catch (const runtime::Error& error) {
    message = error.what();
  }
  CHECK(message.find("gemv_q4_k_broken is wrong on this processor") != std::string::npos);
  CHECK(message.find("row 7, activation 3 of 5") != std::string::npos);
}
