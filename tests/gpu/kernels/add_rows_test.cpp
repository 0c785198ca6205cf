#include "gpu/kernels/add_rows.hpp"

#include <doctest/doctest.h>

#include <numeric>

#include "tests/gpu/on_device.hpp"

namespace dodeca::gpu {

TEST_CASE("add_rows adds rows that lie apart, and nothing between them") {
  for_each_emulation([](Device& device) {
    for (const int width : {4, 1020, 1024, 2052}) {
      CAPTURE(width);
      const int rows = 3, out_stride = width + 4, in_stride = width + 8;
      std::vector<float> out(rows * out_stride), in(rows * in_stride);
      std::iota(out.begin(), out.end(), 0.5f);
      std::iota(in.begin(), in.end(), 7.0f);

      OnDevice<float> device_out(device, out), device_in(device, in);
      const AddRowsArgs args{.out = device_out.data(),
                             .in = device_in.data(),
                             .out_stride = out_stride,
                             .in_stride = in_stride,
                             .n_rows = rows,
                             .width = width};
      device.launch<KernelId::add_rows>(device_out.stream(), add_rows_grid(args), args);

      for (int row = 0; row < rows; ++row)
        for (int i = 0; i < width; ++i) out[row * out_stride + i] += in[row * in_stride + i];
      CHECK(device_out.values() == out);
    }
  });
}

}  // namespace dodeca::gpu
