#include "cpu/residency.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cpu/system_file.hpp"

namespace dodeca::cpu {
namespace {

constexpr std::uint64_t kPage = 4096;

// Addresses from `begin` to `end`.
struct Stretch {
  std::uint64_t begin = 0, end = 0;
};

Stretch stretch_of(std::span<const std::byte> memory) {
  const auto begin = reinterpret_cast<std::uint64_t>(memory.data());
  return {begin, begin + memory.size()};
}

// Spreads over all 64 bits. Samples at exactly equal distances could see one node alone of pages that alternate.
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// The page to look at in stretch i of n that `pages` are divided into.
std::uint64_t sample(std::uint64_t i, std::uint64_t n, std::uint64_t pages) {
  const std::uint64_t begin = i * pages / n, end = (i + 1) * pages / n;
  return begin + mix(i + 1) % (end - begin);
}

// "7f00-7f80 rw-p ...", the first line of a mapping in smaps.
std::optional<Stretch> mapping_of(std::string_view line) {
  Stretch found;
  const char* const end = line.data() + line.size();
  const auto [dash, error] = std::from_chars(line.data(), end, found.begin, 16);
  if (error != std::errc() || dash == end || *dash != '-') return std::nullopt;
  if (std::from_chars(dash + 1, end, found.end, 16).ec != std::errc()) return std::nullopt;
  return found;
}

std::uint64_t huge_bytes_of(const Stretch& memory, const std::string& smaps) {
  std::ifstream file(smaps);
  std::uint64_t total = 0, here = 0, overlap = 0;
  for (std::string line; std::getline(file, line);) {
    if (const auto mapping = mapping_of(line)) {
      total += std::min(here, overlap);
      const std::uint64_t begin = std::max(mapping->begin, memory.begin), end = std::min(mapping->end, memory.end);
      overlap = end > begin ? end - begin : 0;
      here = 0;
    } else if (overlap > 0) {
      for (const std::string_view key : {"AnonHugePages:", "Private_Hugetlb:", "Shared_Hugetlb:"})
        here += find_number(line, key).value_or(0) * 1024;
    }
  }
  return total + std::min(here, overlap);
}

}  // namespace

double Residency::share_on(const std::vector<int>& nodes) const {
  std::uint64_t there = 0;
  for (const auto& [node, n] : on_node) there += std::ranges::find(nodes, node) == nodes.end() ? 0 : n;
  return pages == 0 ? 0 : static_cast<double>(there) / static_cast<double>(pages);
}

Residency residency_of(std::span<const std::byte> memory, std::size_t most_samples, const std::string& root) {
  Residency result;
  if (memory.empty()) return result;
  const Stretch all = stretch_of(memory);
  result.huge_bytes = huge_bytes_of(all, root + "/proc/self/smaps");
  const std::uint64_t first = all.begin / kPage, pages = (all.end - 1) / kPage + 1 - first;
  const std::uint64_t n = most_samples == 0 ? pages : std::min<std::uint64_t>(most_samples, pages);
  constexpr std::uint64_t kBatch = 16384;
  std::vector<void*> addresses;
  std::vector<int> status;
  for (std::uint64_t done = 0; done < n; done += addresses.size()) {
    addresses.resize(std::min(kBatch, n - done));
    status.assign(addresses.size(), -ENOENT);
    for (std::uint64_t i = 0; i < addresses.size(); ++i)
      addresses[i] = reinterpret_cast<void*>((first + sample(done + i, n, pages)) * kPage);
    if (syscall(SYS_move_pages, 0, addresses.size(), addresses.data(), nullptr, status.data(), 0) != 0) {
      const std::string why = std::generic_category().message(errno);
      const std::uint64_t huge_bytes = result.huge_bytes;
      result = {};
      result.huge_bytes = huge_bytes;
      result.unknown = "the system does not tell on which nodes pages are (move_pages: " + why + ")";
      return result;
    }
    result.pages += addresses.size();
    for (const int node : status) {
      if (node < 0) continue;  // not in memory
      ++result.present;
      ++result.on_node[node];
    }
  }
  return result;
}

}  // namespace dodeca::cpu
