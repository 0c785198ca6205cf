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
  const cpu::Buffer buffer(3 << 20, 0);
  buffer.as<char>()[0] = 'x';
  buffer.as<char>()[(3 << 20) - 1] = 'y';
  if (!buffer.bound()) {
    MESSAGE("mbind is not available here");
  } else {
    CHECK_THROWS_AS(cpu::Buffer(4096, 1000), std::system_error);  // no such node
  }
}

TEST_CASE("the huge page mode is one of the known words") {
  const std::string mode = cpu::huge_page_mode();
  CHECK((mode == "always" || mode == "madvise" || mode == "never" || mode == "unknown"));
}
