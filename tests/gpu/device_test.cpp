#include "gpu/device.hpp"

#include <doctest/doctest.h>

TEST_CASE("without a back end there are no devices") {
  CHECK(dodeca::gpu::backend_name() == "none");
  CHECK(dodeca::gpu::devices().empty());
}
