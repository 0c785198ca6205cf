#include "cpu/memory.hpp"

#include <linux/mempolicy.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "cpu/node_memory.hpp"

namespace dodeca::cpu {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20, kGiantPage = std::size_t{1} << 30;

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

// The system call itself: libnuma would be a library for this one line. Containers whose seccomp profile forbids it
// (EPERM) and kernels without NUMA (ENOSYS) leave the memory unbound.
bool bind_to_nodes(std::byte* data, std::size_t bytes, const std::vector<int>& nodes) {
  constexpr int kBits = std::numeric_limits<unsigned long>::digits;
  const int last = *std::max_element(nodes.begin(), nodes.end());
  std::vector<unsigned long> mask(static_cast<std::size_t>(last / kBits) + 1, 0);
  for (const int node : nodes) mask[static_cast<std::size_t>(node / kBits)] |= 1UL << (node % kBits);
  const int mode = nodes.size() == 1 ? MPOL_BIND : MPOL_INTERLEAVE;
  // The kernel reads one bit less than it is told.
  const unsigned long bits = mask.size() * kBits + 1;
  if (syscall(SYS_mbind, data, bytes, mode, mask.data(), bits, MPOL_MF_STRICT) == 0) return true;
  const int error = errno;
  if (error == EPERM || error == ENOSYS) return false;
  std::string names;
  for (const int node : nodes) names += (names.empty() ? "" : ", ") + std::to_string(node);
  throw std::system_error(error, std::generic_category(),
                          "mbind of " + std::to_string(bytes) + " bytes to node " + names);
}

std::string page_name(std::size_t page) { return page == kHugePage ? "2 MiB" : "1 GiB"; }

// Why the pools cannot give n pages; empty when they can. A pool of the whole machine is not enough: a node that is
// bound to takes pages from its own alone.
std::string pool_shortage(std::size_t n, std::size_t page, const std::vector<int>& nodes) {
  const std::vector<int> asked = nodes.empty() ? std::vector<int>{-1} : nodes;
  const std::size_t each = (n + asked.size() - 1) / asked.size();
  for (const int node : asked) {
    const HugePool pool = huge_pool(node, page);
    if (pool.free >= each) continue;
    return (node < 0 ? "the machine" : "node " + std::to_string(node)) + " has " + std::to_string(pool.free) +
           " free pages of " + page_name(page) + " in a pool of " + std::to_string(pool.total) + ", and " +
           std::to_string(each) + " are needed";
  }
  return {};
}

std::string refusal(int error) {
  if (error == EFAULT || error == ENOMEM) return "too few are free for this process, or a control group limits them";
  if (error == EINVAL) return "the kernel lacks this size of page, or is older than 5.14";
  return std::generic_category().message(error);
}

// Takes all pages at once. Several threads, since the kernel clears some GB/s with one. Returns 0 or an errno.
int populate(std::byte* data, std::size_t bytes, std::size_t page) {
  constexpr std::size_t kMostThreads = 8, kWorthAThread = std::size_t{1} << 30;
  const std::size_t n = std::clamp<std::size_t>(bytes / kWorthAThread, 1, kMostThreads);
  const std::size_t share = round_up((bytes + n - 1) / n, page);
  std::atomic<int> error{0};
  const auto work = [&](std::size_t begin) {
    if (begin >= bytes) return;
    if (madvise(data + begin, std::min(share, bytes - begin), MADV_POPULATE_WRITE) != 0) error = errno;
  };
  std::vector<std::jthread> helpers;
  for (std::size_t i = 1; i < n; ++i) {
    try {
      helpers.emplace_back(work, i * share);
    } catch (const std::system_error&) {  // no further thread is allowed
      work(i * share);
    }
  }
  work(0);
  helpers.clear();
  return error;
}

}  // namespace

Buffer Buffer::map(std::size_t bytes, std::size_t unit) {
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) throw std::bad_alloc();
  // More is reserved, and what sticks out is given back.
  const std::size_t mapped = round_up(bytes, unit), reserved = mapped + kHugePage;
  void* base = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  auto* first = static_cast<std::byte*>(base);
  const std::size_t skip =
      round_up(reinterpret_cast<std::uintptr_t>(first), kHugePage) - reinterpret_cast<std::uintptr_t>(first);
  if (skip > 0) munmap(first, skip);
  munmap(first + skip + mapped, reserved - skip - mapped);
  Buffer made;
  made.data_ = first + skip;
  made.size_ = bytes;
  made.mapped_ = mapped;
  return made;
}

Buffer Buffer::map_from_pool(std::size_t bytes, std::size_t page, const std::vector<int>& nodes, std::string& why) {
  const std::size_t mapped = round_up(bytes, page);
  why = pool_shortage(mapped / page, page, nodes);
  if (!why.empty()) return {};
  const int size = page == kHugePage ? MAP_HUGE_2MB : MAP_HUGE_1GB;
  // Reserved at once (no MAP_NORESERVE): other processes cannot take the pages between here and populate().
  void* base = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | size, -1, 0);
  int error = base == MAP_FAILED ? errno : 0;
  Buffer made;
  if (error == 0) {
    made.data_ = static_cast<std::byte*>(base);
    made.size_ = bytes;
    made.mapped_ = mapped;
    if (!nodes.empty()) made.bind(nodes);
    // The pool may have shrunk since, a control group may allow less. Kernels before 5.14 cannot populate (EINVAL).
    error = populate(made.data_, mapped, page);
  }
  if (error == 0) return made;
  why = "the pool of " + page_name(page) + " pages refused " + std::to_string(mapped / page) +
        " pages: " + refusal(error);
  return {};
}

void Buffer::bind(const std::vector<int>& nodes) { bound_ = bind_to_nodes(data_, mapped_, nodes); }

void Buffer::bind_range(std::size_t begin, std::size_t end, int node) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t first = round_up(begin, page), last = end / page * page;
  if (first < last) bind_to_nodes(data_ + first, last - first, {node});
}

Buffer::Buffer(std::size_t bytes, const std::vector<int>& nodes) {
  if (bytes == 0) return;
  Buffer made = map(bytes, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));  // unmaps when the node refuses
  // Below one huge page the advice would only waste memory; where huge pages are off it changes nothing.
  if (made.mapped_ >= kHugePage) madvise(made.data_, made.mapped_, MADV_HUGEPAGE);
  if (!nodes.empty()) made.bind(nodes);
  *this = std::move(made);
}

Buffer::~Buffer() {
  if (data_ != nullptr) munmap(data_, mapped_);
}

std::size_t pool_page_bytes(HugePages pages) {
  return pages == HugePages::k2M ? kHugePage : pages == HugePages::k1G ? kGiantPage : 0;
}

Slab::Slab(std::size_t bytes, const SlabOptions& options) : pages_(options.pages) {
  if (bytes == 0) return;
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) throw std::bad_alloc();
  if (const std::size_t page = pool_page_bytes(pages_); page > 0) {
    memory_ = Buffer::map_from_pool(bytes, page, options.nodes, fallback_reason_);
    if (memory_.data() != nullptr) return;
    pages_ = HugePages::kTransparent;
  }
  Buffer made = Buffer::map(bytes, kHugePage);
  madvise(made.data_, made.mapped_, pages_ == HugePages::kOff ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
  if (!options.nodes.empty()) made.bind(options.nodes);
  memory_ = std::move(made);
}

Slab& Slab::operator=(Slab&& other) noexcept {
  memory_ = std::move(other.memory_);
  std::swap(used_, other.used_);
  std::swap(pages_, other.pages_);
  std::swap(fallback_reason_, other.fallback_reason_);
  return *this;
}

std::size_t Slab::end_of_piece(std::size_t used, std::size_t bytes) {
  constexpr std::size_t kLine = 64, kPage = 4096;
  return round_up(used, bytes >= kHugePage ? kPage : kLine) + bytes;
}

std::byte* Slab::take(std::size_t bytes) {
  if (bytes > size() || end_of_piece(used_, bytes) > size()) throw std::bad_alloc();
  used_ = end_of_piece(used_, bytes);
  return memory_.data() + (used_ - bytes);
}

const char* huge_page_mode() {
  std::FILE* file = std::fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
  if (file == nullptr) return "unknown";
  char line[128] = {};
  const std::size_t n = std::fread(line, 1, sizeof line - 1, file);
  std::fclose(file);
  line[n] = '\0';
  for (const char* mode : {"always", "madvise", "never"}) {
    if (std::strstr(line, ("[" + std::string(mode) + "]").c_str()) != nullptr) return mode;
  }
  return "unknown";
}

}  // namespace dodeca::cpu
