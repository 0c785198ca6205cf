// Rows of regions go through a buffer of any size, and come out at the same places.
#include "runtime/cluster/packed_part.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace {

using namespace dodeca::runtime;
using namespace dodeca::runtime::cluster;

// Rows of 7 and 5 bytes of part 1, with one of part 0 and a region without rows between them.
std::vector<exec::Region> regions_in(std::vector<std::byte>& memory) {
  memory.resize(100);
  return {{.part = 1, .data = memory.data(), .bytes = 7, .stride = 10, .n_rows = 3},
          {.part = 0, .data = memory.data() + 40, .bytes = 10, .stride = 10, .n_rows = 2},
          {.part = 1, .data = memory.data() + 60, .bytes = 8, .stride = 8, .n_rows = 0},
          {.part = 1, .data = memory.data() + 70, .bytes = 5, .stride = 6, .n_rows = 4}};
}

}  // namespace

TEST_CASE("what a part gives goes through buffers of any size") {
  for (const std::size_t most : {1, 3, 7, 16, 41, 1000}) {
    std::vector<std::byte> from, to;
    const std::vector<exec::Region> sent = regions_in(from), received = regions_in(to);
    for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i + 1);
    PackedPart out(sent, 1), in(received, 1);
    CHECK(out.left() == 41);
    std::vector<std::byte> buffer(most);
    while (out.left() > 0) {
      const std::size_t n = out.pack(buffer.data(), most);
      CHECK((n == most || out.left() == 0));
      CHECK(in.unpack(buffer.data(), most) == n);
    }
    CHECK(in.left() == 0);
    std::size_t n_same = 0;
    for (std::size_t i = 0; i < to.size(); ++i) {
      CHECK((to[i] == from[i] || to[i] == std::byte{0}));
      n_same += to[i] == from[i] ? 1 : 0;
    }
    CHECK(n_same == 41);
    CHECK(PackedPart(sent, 0).left() == 20);
    CHECK(PackedPart(sent, 2).left() == 0);
  }
}
