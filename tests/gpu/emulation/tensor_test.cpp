#include <doctest/doctest.h>

#include "gpu/emulation/arithmetic.hpp"
#include "quant/float_types.hpp"
#include "tests/gpu/emulation/sample_kernels.hpp"
#include "tests/gpu/on_device.hpp"

namespace dodeca::gpu {

using emulation::EmulatedDevice, emulation::Kernel;

namespace {

int a_value(int row, int k) { return (row * 5 + k * 3) % 23 - 11; }
int b_value(int k, int column) { return (k * 7 + column * 2) % 19 - 9; }

// a [16, depth] and b [depth, 8] as T, and their product.
template <class T, class Sum, class Convert>
void check_product(const SampleKernel& kernels, Convert convert, bool b_by_columns = false) {
  constexpr int kDepth = 32 / sizeof(T);
  std::vector<T> a(16 * kDepth), b(8 * kDepth);
  for (int k = 0; k < kDepth; ++k) {
    for (int row = 0; row < 16; ++row) a[row * kDepth + k] = convert(a_value(row, k));
    for (int column = 0; column < 8; ++column)
      b[b_by_columns ? column * kDepth + k : k * 8 + column] = convert(b_value(k, column));
  }
  std::vector<Sum> wanted(16 * 8);
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column)
      for (int k = 0; k < kDepth; ++k)
        wanted[row * 8 + column] += static_cast<Sum>(a_value(row, k) * b_value(k, column));
  for_each_emulation([&](EmulatedDevice& device) {
    OnDevice<T> device_a(device, a), device_b(device, b);
    for (const Kernel* kernel : {&kernels.plain, &kernels.checked}) {
      OnDevice<Sum> c(device, wanted.size());
      const ProductArgs args{.c = c.data(), .a = device_a.data(), .b = device_b.data()};
      device.launch(c.stream(), *kernel, {}, &args, sizeof args);
      CHECK(c.values() == wanted);
    }
  });
}

std::uint16_t bf16(int value) { return quant::f32_to_bf16(static_cast<float>(value)); }
std::uint16_t f16(int value) { return quant::f32_to_f16(static_cast<float>(value)); }
std::int8_t int8(int value) { return static_cast<std::int8_t>(value); }

}  // namespace

TEST_CASE("fragments filled by the manual's formulas give the product of matrices") {
  check_product<std::uint16_t, float>(SAMPLE_KERNEL(product_bf16), bf16);
  check_product<std::uint16_t, float>(SAMPLE_KERNEL(product_f16), f16);
  check_product<std::int8_t, int>(SAMPLE_KERNEL(product_s8), int8);
}

TEST_CASE("ldmatrix gives the fragments that products want") {
  check_product<std::uint16_t, float>(SAMPLE_KERNEL(product_by_ldmatrix), bf16);
  check_product<std::int8_t, int>(SAMPLE_KERNEL(product_s8_by_ldmatrix), int8, true);
}

TEST_CASE("CUDA's functions on bits give what its guide says") {
  using namespace emulation;  // NOLINT(google-build-using-namespace)
  CHECK(__dp4a(0x01ff7f80, 0x02020202, 5) == 5 + 2 - 2 + 254 - 256);
  CHECK(__dp4a(0x01ff7f80u, 0x02020202u, 5u) == 5 + 2 + 510 + 254 + 256);
  CHECK(__byte_perm(0x33221100, 0x77665544, 0x7531) == 0x77553311);
  CHECK(__byte_perm(0x80000000, 0, 0xb) == 0x000000ffu);
  CHECK(__funnelshift_l(0x80000001u, 0x00000003u, 4) == 0x00000038u);
  CHECK(__funnelshift_r(0x80000010u, 0x00000003u, 4) == 0x38000001u);
  CHECK(__brev(0x80000001u) == 0x80000001u);
  CHECK(__brev(0x0000000fu) == 0xf0000000u);
  CHECK(__clz(1) == 31);
  CHECK(__ffs(0) == 0);
  CHECK(__ffs(8) == 4);
  CHECK(__umulhi(0x80000000u, 6) == 3);
  CHECK(__vsub4(0x00010203u, 0x01010101u) == 0xff000102u);
  CHECK(__vadd4(0xff7f0102u, 0x01010101u) == 0x00800203u);
  CHECK(__float2int_rn(2.5f) == 2);
  CHECK(__float2int_rn(-3.5f) == -4);
  CHECK(__float2int_rn(3e9f) == 0x7fffffff);
}

}  // namespace dodeca::gpu
