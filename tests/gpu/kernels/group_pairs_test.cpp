// Pairs of rows and experts, sorted by expert.
#include "gpu/kernels/group_pairs.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>
#include <vector>

#include "tests/gpu/on_device.hpp"

namespace dodeca::gpu {

TEST_CASE("group_pairs: every pair has a slot of its expert, in ascending order of the rows") {
  for_each_emulation([](Device& device) {
    for (const auto& [n_rows, n_used, n_experts] : {std::array{1, 1, 1}, {50, 3, 20}, {33, 8, 300}, {70, 2, 1024}}) {
      CAPTURE(n_experts);
      std::mt19937 random(7);
      std::vector<std::int32_t> ids;
      for (std::int32_t row = 0; row < n_rows; ++row) {
        std::vector<std::int32_t> own;
        while (std::ssize(own) < n_used) {
          const auto id = static_cast<std::int32_t>(random() % static_cast<unsigned>(n_experts));
          if (std::ranges::find(own, id) == own.end()) own.push_back(id);
        }
        ids.insert(ids.end(), own.begin(), own.end());
      }
      const auto n = static_cast<std::int32_t>(ids.size());
      const OnDevice<std::int32_t> there(device, ids), rows(device, ids.size()), slots(device, ids.size()),
          begin(device, static_cast<std::size_t>(n_experts) + 1);
      device.synchronize();
      const GroupPairsArgs args{.ids = there.data(),
                                .rows = rows.data(),
                                .begin = begin.data(),
                                .slots = slots.data(),
                                .n_pairs = n,
                                .n_used = n_used,
                                .n_experts = n_experts};
      device.launch<KernelId::group_pairs>(there.stream(), group_pairs_grid(args), args);
      std::vector<std::int32_t> want_rows, want_slots(ids.size()), want_begin = {0};
      for (std::int32_t expert = 0; expert < n_experts; ++expert) {
        for (std::size_t pair = 0; pair < ids.size(); ++pair) {
          if (ids[pair] != expert) continue;
          want_slots[pair] = static_cast<std::int32_t>(want_rows.size());
          want_rows.push_back(static_cast<std::int32_t>(pair) / n_used);
        }
        want_begin.push_back(static_cast<std::int32_t>(want_rows.size()));
      }
      CHECK(rows.values() == want_rows);
      CHECK(slots.values() == want_slots);
      CHECK(begin.values() == want_begin);
    }
  });
}

}  // namespace dodeca::gpu
