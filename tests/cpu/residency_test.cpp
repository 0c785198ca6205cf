#include "cpu/residency.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "cpu/memory.hpp"
#include "cpu/topology.hpp"
#include "tests/support/fake_root.hpp"

using namespace dodeca;

namespace {

constexpr std::size_t kPage = 4096, kHuge = 2 << 20;

bool known(const cpu::Residency& residency) {
  if (!residency.unknown.empty()) MESSAGE("skipped: ", residency.unknown);
  return residency.unknown.empty();
}

// A mapping as smaps shows it, from `begin` pages to `end` pages behind `base`.
std::string mapping(const std::byte* base, std::int64_t begin, std::int64_t end, const std::string& lines) {
  const auto at = [&](std::int64_t page) {
    return reinterpret_cast<std::uint64_t>(base) + static_cast<std::uint64_t>(page * static_cast<std::int64_t>(kPage));
  };
  std::ostringstream text;
  text << std::hex << at(begin) << '-' << at(end) << " rw-p 00000000 00:00 0 \nSize: 99 kB\n" << lines;
  return text.str();
}

}  // namespace

TEST_CASE("memory that nobody touched is nowhere; touched pages are on a node of this machine") {
  cpu::Slab slab(8 * kHuge, {.nodes = {}, .pages = cpu::HugePages::kOff});
  std::byte* const data = slab.take(8 * kHuge);
  const cpu::Residency before = cpu::residency_of(slab.used());
  if (!known(before)) return;
  CHECK(before.pages == 8 * kHuge / kPage);
  CHECK(before.present == 0);
  CHECK(before.on_node.empty());
  CHECK(before.share_on({0}) == 0);

  for (std::size_t page = 0; page < 10; ++page) data[page * 3 * kPage] = std::byte{1};
  const cpu::Residency after = cpu::residency_of(slab.used());
  CHECK(after.pages == before.pages);
  CHECK(after.present == 10);
  CHECK(after.huge_bytes == 0);
  std::uint64_t on_nodes = 0;
  double shares = 0;
  for (const auto& [node, pages] : after.on_node) {
    on_nodes += pages;
    shares += after.share_on({node});
  }
  CHECK(on_nodes == 10);
  CHECK(shares == doctest::Approx(10.0 / static_cast<double>(after.pages)));  // untouched ones are nowhere
}

TEST_CASE("the pages of a bound slab are on its node") {
  const cpu::Topology topology = cpu::read_topology();
  for (const cpu::Node& node : topology.nodes) {
    cpu::Slab slab(2 * kHuge, {.nodes = {node.os_index}, .pages = cpu::HugePages::kTransparent});
    std::byte* const data = slab.take(2 * kHuge);
    std::fill(data, data + 2 * kHuge, std::byte{1});
    const cpu::Residency all = cpu::residency_of(slab.used());
    if (!known(all) || !slab.bound()) continue;
    CHECK(all.present == 2 * kHuge / kPage);
    CHECK(all.share_on({node.os_index}) == 1);
    for (const cpu::Node& other : topology.nodes)
      if (other.os_index != node.os_index) CHECK(all.share_on({other.os_index}) == 0);
  }
}

TEST_CASE("interleaved memory is shared equally, and samples see that") {
  const cpu::Topology topology = cpu::read_topology();
  if (topology.nodes.size() < 2) {
    MESSAGE("skipped: this machine has one memory node");
    return;
  }
  const int a = topology.nodes[0].os_index, b = topology.nodes[1].os_index;
  cpu::Slab slab(8 * kHuge, {.nodes = {a, b}, .pages = cpu::HugePages::kOff});
  std::byte* const data = slab.take(8 * kHuge);
  std::fill(data, data + 8 * kHuge, std::byte{1});
  const cpu::Residency all = cpu::residency_of(slab.used());
  if (!known(all) || !slab.bound()) return;
  CHECK(all.share_on({a}) == doctest::Approx(0.5).epsilon(0.01));
  // Half of the pages: every second one would all be on one node.
  CHECK(cpu::residency_of(slab.used(), 4 * kHuge / kPage).share_on({a}) == doctest::Approx(0.5).epsilon(0.1));
}

TEST_CASE("samples are as many as asked for, spread over all of the memory") {
  cpu::Slab slab(8 * kHuge, {.nodes = {}, .pages = cpu::HugePages::kOff});
  std::byte* const data = slab.take(8 * kHuge);
  std::fill(data, data + 4 * kHuge, std::byte{1});
  const cpu::Residency sampled = cpu::residency_of(slab.used(), 100);
  if (!known(sampled)) return;
  CHECK(sampled.pages == 100);
  CHECK(sampled.present == 50);
  CHECK(cpu::residency_of(slab.used(), std::size_t{1} << 40).present == 4 * kHuge / kPage);
  CHECK(cpu::residency_of(slab.used().subspan(kPage - 1, 2)).pages == 2);
  CHECK(cpu::residency_of({}).pages == 0);
}

TEST_CASE("transparent huge pages are counted where the kernel gives them") {
  if (const std::string mode = cpu::huge_page_mode(); mode != "always" && mode != "madvise") {
    MESSAGE("skipped: no transparent huge pages here");
    return;
  }
  cpu::Slab slab(8 * kHuge, {});
  std::byte* const data = slab.take(8 * kHuge);
  CHECK(cpu::residency_of(slab.used()).huge_bytes == 0);
  std::fill(data, data + 8 * kHuge, std::byte{1});
  const std::uint64_t huge = cpu::residency_of(slab.used()).huge_bytes;
  CHECK(huge % kHuge == 0);
  CHECK(huge <= 8 * kHuge);
  if (huge == 0) MESSAGE("the kernel found no free huge page");
}

TEST_CASE("huge bytes: mappings that overlap, transparent ones and those of a pool, never more than the overlap") {
  cpu::Slab slab(8 * kHuge, {.nodes = {}, .pages = cpu::HugePages::kOff});
  const std::byte* const data = slab.take(8 * kHuge);
  const tests::FakeRoot root;
  root.write("proc/self/smaps", mapping(data, -4096, 0, "AnonHugePages:      4096 kB\n") +
                                    mapping(data, 0, 512, "AnonHugePages:      2048 kB\nPrivate_Hugetlb: 0 kB\n") +
                                    mapping(data, 512, 1536, "AnonHugePages: 0 kB\nPrivate_Hugetlb:  4096 kB\n") +
                                    mapping(data, 1536, 4096, "Shared_Hugetlb: 0 kB\nRss: 9 kB\n") +
                                    mapping(data, 4096, 9999, "AnonHugePages:    10240 kB\n"));
  const auto huge_bytes = [&](std::size_t offset, std::size_t bytes) {
    return cpu::residency_of(slab.used().subspan(offset, bytes), 1, root.path()).huge_bytes;
  };
  CHECK(huge_bytes(0, 8 * kHuge) == 3 * kHuge);
  CHECK(huge_bytes(0, kHuge) == kHuge);
  CHECK(huge_bytes(kHuge, 1000) == 1000);
  CHECK(huge_bytes(3 * kHuge, kHuge) == 0);
}
