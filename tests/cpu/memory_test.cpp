#include "cpu/memory.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <new>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "cpu/node_memory.hpp"

using namespace dodeca;

TEST_CASE("a buffer is aligned to 2 MiB, zero and writable to its last byte") {
  for (const std::size_t bytes :
       {std::size_t{1}, std::size_t{4096}, std::size_t{2 << 20}, std::size_t{(5 << 20) + 3}}) {
    const cpu::Buffer buffer(bytes);
    REQUIRE(buffer.size() == bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % (2 << 20) == 0);
    CHECK(std::all_of(buffer.bytes().begin(), buffer.bytes().end(), [](std::byte b) { return b == std::byte{0}; }));
    std::fill(buffer.bytes().begin(), buffer.bytes().end(), std::byte{7});
    CHECK(buffer.as<unsigned char>()[bytes - 1] == 7);
    CHECK_FALSE(buffer.bound());
  }
}

TEST_CASE("an empty buffer has no memory; moving leaves one owner") {
  const cpu::Buffer empty(0);
  CHECK(empty.data() == nullptr);
  CHECK(empty.size() == 0);
  cpu::Buffer a(100);
  a.as<char>()[99] = 'x';
  cpu::Buffer b = std::move(a);
  CHECK(b.size() == 100);
  CHECK(b.as<char>()[99] == 'x');
  a = cpu::Buffer(10);
  b = std::move(a);
  CHECK(b.size() == 10);
}

TEST_CASE("more than there can be is bad_alloc") {
  CHECK_THROWS_AS(cpu::Buffer(std::numeric_limits<std::size_t>::max()), std::bad_alloc);
  CHECK_THROWS_AS(cpu::Buffer(std::size_t{1} << 60), std::bad_alloc);
}

TEST_CASE("binding to a node works, or the system forbids it and the buffer works unbound") {
  const cpu::Buffer buffer(3 << 20, {0});
  buffer.as<char>()[0] = 'x';
  buffer.as<char>()[(3 << 20) - 1] = 'y';
  if (!buffer.bound()) {
    MESSAGE("skipped: mbind is not available here");
  } else {
    CHECK_THROWS_AS(cpu::Buffer(4096, {1000}), std::system_error);  // no such node
  }
}

TEST_CASE("pieces of a slab follow each other at cache lines, large ones at pages, and are zero") {
  constexpr std::size_t kLarge = 2 << 20;
  for (const cpu::HugePages pages : {cpu::HugePages::kTransparent, cpu::HugePages::kOff}) {
    cpu::Slab slab(3 * kLarge, {.nodes = {}, .pages = pages});
    CHECK(slab.pages() == pages);
    CHECK(slab.fallback_reason().empty());
    CHECK_FALSE(slab.bound());
    CHECK(slab.used().empty());
    std::byte* const first = slab.take(1);
    CHECK(reinterpret_cast<std::uintptr_t>(first) % kLarge == 0);
    CHECK(slab.take(100) == first + 64);
    CHECK(slab.take(64) == first + 192);
    CHECK(slab.take(kLarge) == first + 4096);
    CHECK(slab.take(1) == first + 4096 + kLarge);
    CHECK(slab.used().data() == first);
    CHECK(slab.used().size() == 4096 + kLarge + 1);
    CHECK(std::all_of(slab.used().begin(), slab.used().end(), [](std::byte b) { return b == std::byte{0}; }));
    std::fill(first, first + slab.used().size(), std::byte{7});
  }
}

TEST_CASE("a slab of the size that is added up holds its pieces and nothing more") {
  std::size_t bytes = 0;
  const std::size_t pieces[] = {3, 5 << 20, 64, 65, 2 << 20, (3 << 20) + 1, 1};
  for (const std::size_t piece : pieces) bytes = cpu::Slab::end_of_piece(bytes, piece);
  cpu::Slab slab(bytes, {});
  for (const std::size_t piece : pieces) slab.take(piece)[piece - 1] = std::byte{1};
  CHECK(slab.used().size() == bytes);
  CHECK_THROWS_AS(slab.take(1), std::bad_alloc);
  CHECK_THROWS_AS(slab.take(std::numeric_limits<std::size_t>::max()), std::bad_alloc);
  CHECK(slab.used().size() == bytes);
  CHECK_THROWS_AS(cpu::Slab(0, {}).take(1), std::bad_alloc);
  CHECK_THROWS_AS(cpu::Slab(std::numeric_limits<std::size_t>::max(), {}), std::bad_alloc);
  CHECK_THROWS_AS(cpu::Slab(std::size_t{1} << 60, {}), std::bad_alloc);
}

TEST_CASE("moving a slab leaves one owner; pieces stay where they are") {
  cpu::Slab a(1000, {});
  std::byte* const piece = a.take(10);
  piece[9] = std::byte{5};
  cpu::Slab b = std::move(a);
  CHECK(b.used().data() == piece);
  CHECK(piece[9] == std::byte{5});
  CHECK(b.take(1) == piece + 64);
  a = cpu::Slab(64, {});
  CHECK(a.take(64)[63] == std::byte{0});
  b = std::move(a);
  CHECK(b.size() == 64);
}

TEST_CASE("a slab is bound to a node or interleaved, or the system forbids it and it works unbound") {
  cpu::Slab bound(3 << 20, {.nodes = {0}, .pages = cpu::HugePages::kTransparent});
  bound.take(3 << 20)[(3 << 20) - 1] = std::byte{1};
  if (!bound.bound()) {
    MESSAGE("skipped: mbind is not available here");
    return;
  }
  CHECK(bound.take(0) != nullptr);
  CHECK_THROWS_AS(cpu::Slab(4096, {.nodes = {1000}}), std::system_error);  // no such node
}

TEST_CASE("a pool that is too small is a reason with numbers, and the slab has transparent pages") {
  for (const bool giant : {false, true}) {
    for (const std::vector<int>& nodes : {std::vector<int>{}, std::vector<int>{0}}) {
      const std::uint64_t page = std::uint64_t{giant ? 1024U : 2U} << 20;
      const cpu::HugePool pool = cpu::huge_pool(nodes.empty() ? -1 : 0, page);
      const std::size_t bytes = (pool.free + 1) * page;
      cpu::Slab slab(bytes, {.nodes = nodes, .pages = giant ? cpu::HugePages::k1G : cpu::HugePages::k2M});
      CHECK(slab.pages() == cpu::HugePages::kTransparent);
      CHECK(slab.fallback_reason() == (nodes.empty() ? "the machine" : "node 0") + std::string(" has ") +
                                          std::to_string(pool.free) + " free pages of " + (giant ? "1 GiB" : "2 MiB") +
                                          " in a pool of " + std::to_string(pool.total) + ", and " +
                                          std::to_string(pool.free + 1) + " are needed");
      slab.take(100)[99] = std::byte{1};
    }
  }
}

TEST_CASE("a pool that is large enough gives its pages at once, and back") {
  const std::uint64_t page = 2 << 20;
  const cpu::HugePool before = cpu::huge_pool(0, page);
  if (before.free == 0) {
    MESSAGE("skipped: no pool of 2 MiB pages here");
    return;
  }
  {
    cpu::Slab slab(page, {.nodes = {0}, .pages = cpu::HugePages::k2M});
    CHECK(slab.fallback_reason().empty());
    CHECK(slab.pages() == cpu::HugePages::k2M);
    CHECK(cpu::huge_pool(0, page).free == before.free - 1);
    slab.take(page)[page - 1] = std::byte{1};
  }
  CHECK(cpu::huge_pool(0, page).free == before.free);
}

TEST_CASE("the huge page mode is one of the known words") {
  const std::string mode = cpu::huge_page_mode();
  CHECK((mode == "always" || mode == "madvise" || mode == "never" || mode == "unknown"));
}
