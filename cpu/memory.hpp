// Anonymous memory for weights, cache and work space: 2 MiB aligned, huge pages where the system gives them, bound to
// nodes when asked. A Buffer is one piece; a Slab is a reservation from which many are taken. The only caller of
// mmap/madvise/mbind for data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace dodeca::cpu {

class Buffer {
 public:
  Buffer() = default;
  // bytes may be 0. nodes: as SlabOptions has them. Zero-filled. Throws std::bad_alloc, or std::system_error when a node
  // refuses.
  explicit Buffer(std::size_t bytes, const std::vector<int>& nodes = {});
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(mapped_, other.mapped_);
    std::swap(bound_, other.bound_);
    return *this;
  }
  ~Buffer();

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  // Whole pages within [begin, end), before the first touch, on one node; nothing where the system forbids it.
  void bind_range(std::size_t begin, std::size_t end, int node);
  // True when the node was asked for and the system granted it; false in containers that forbid mbind.
  bool bound() const { return bound_; }
  std::span<std::byte> bytes() const { return {data_, size_}; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  friend class Slab;
  // Maps at least `bytes` > 0, a multiple of `unit`, at the start of a 2 MiB page. Throws std::bad_alloc.
  static Buffer map(std::size_t bytes, std::size_t unit);
  // As Slab's constructor says. Empty, and `why` says why, when the pool gives too little.
  static Buffer map_from_pool(std::size_t bytes, std::size_t page, const std::vector<int>& nodes, std::string& why);
  // To one node, or interleaved over several; before the first touch.
  void bind(const std::vector<int>& nodes);

  std::byte* data_ = nullptr;
  std::size_t size_ = 0, mapped_ = 0;
  bool bound_ = false;
};

enum class HugePages {
  kTransparent,  // where the kernel finds them
  k2M,           // from the pool that the administrator set aside (hugetlbfs)
  k1G,
  kOff
};
// Bytes of a page of the pool; 0: of no pool.
std::size_t pool_page_bytes(HugePages pages);

struct SlabOptions {
  std::vector<int> nodes;  // OS indices. None: wherever first touched; one: bound to it; several: interleaved over them
  HugePages pages = HugePages::kTransparent;
};

class Slab {
 public:
  Slab() = default;
  // Address space only: pages come with the first touch. Those of a pool are taken at once, so that a pool which is too
  // small is seen here and not as a signal later: then the slab has transparent pages, and fallback_reason() says why.
  // Throws std::bad_alloc, or std::system_error when a node refuses.
  Slab(std::size_t bytes, const SlabOptions& options);
  Slab(Slab&& other) noexcept { *this = std::move(other); }
  Slab& operator=(Slab&& other) noexcept;

  // The next piece, zero-filled: at a cache line (64 bytes), from 2 MiB on at a page (4096). It lives as long as the
  // slab. Throws std::bad_alloc when less is left. For one thread at a time.
  std::byte* take(std::size_t bytes);
  // Where a piece ends that is taken when `used` bytes are: adds up what a slab must hold, in the order of taking.
  static std::size_t end_of_piece(std::size_t used, std::size_t bytes);

  std::size_t size() const { return memory_.size(); }
  std::span<const std::byte> used() const { return {memory_.data(), used_}; }
  // As Buffer::bound().
  bool bound() const { return memory_.bound(); }
  // What it has, which is not what was asked for after a fall-back.
  HugePages pages() const { return pages_; }
  // One sentence without a full stop, with what is needed and what there is; empty: no fall-back.
  const std::string& fallback_reason() const { return fallback_reason_; }

 private:
  Buffer memory_;
  std::size_t used_ = 0;
  HugePages pages_ = HugePages::kTransparent;
  std::string fallback_reason_;
};

// What the kernel says of transparent huge pages here: "always", "madvise", "never" or "unknown".
const char* huge_page_mode();

}  // namespace dodeca::cpu
