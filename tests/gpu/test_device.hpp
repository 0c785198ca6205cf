// Where tests of kernels run: on the emulation, in every way that it has; or, where the environment variable
// DODECA_TEST_DEVICE has the number of a card, on that card, once. Tests of the emulation itself do not ask.
#pragma once

#include <cstdlib>
#include <memory>

#include "gpu/emulation/emulation.hpp"

namespace dodeca::gpu {

// Null: no card.
inline const char* test_card() {
  const char* const name = std::getenv("DODECA_TEST_DEVICE");
  return name == nullptr || *name == '\0' ? nullptr : name;
}

inline std::unique_ptr<Device> open_test_device(const emulation::EmulationOptions& otherwise = {}) {
  if (test_card() != nullptr) return open_device(test_card(), {});
  return emulation::open_emulation(otherwise);
}

}  // namespace dodeca::gpu
