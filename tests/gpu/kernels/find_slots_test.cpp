// Where chosen experts lie among those that the device holds.
#include "gpu/kernels/find_slots.hpp"

#include <doctest/doctest.h>

#include <vector>

#include "tests/gpu/on_device.hpp"

namespace dodeca::gpu {

TEST_CASE("find_slots: slots of the chosen experts, and no term where there is none") {
  for_each_emulation([](Device& device) {
    std::vector<std::int32_t> slot_of(200, -1), ids;
    slot_of[3] = 7;
    slot_of[199] = 0;
    for (std::int32_t i = 0; i < 131; ++i) ids.push_back(i % 3 == 0 ? 3 : i % 3 == 1 ? 199 : i);
    const auto n = static_cast<std::int32_t>(ids.size());
    const OnDevice<std::int32_t> ids_there(device, ids), table(device, slot_of), slots(device, ids.size()),
        terms(device, ids.size());
    device.synchronize();
    const FindSlotsArgs args{
        .ids = ids_there.data(), .slot_of = table.data(), .slots = slots.data(), .terms = terms.data(), .n = n};
    device.launch<KernelId::find_slots>(ids_there.stream(), find_slots_grid(args), args);
    const std::vector<std::int32_t> got_slots = slots.values(), got_terms = terms.values();
    for (std::int32_t i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const std::int32_t want = i % 3 == 0 ? 7 : i % 3 == 1 ? 0 : i == 199 ? 0 : i == 3 ? 7 : -1;
      CHECK(got_slots[at] == want);
      CHECK(got_terms[at] == (want < 0 ? -1 : i));
    }
  });
}

}  // namespace dodeca::gpu
