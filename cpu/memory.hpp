// Anonymous memory for weights, cache and work space: 2 MiB aligned, huge pages where the system gives them, bound to a
// node when asked. The only caller of mmap/madvise/mbind for data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace dodeca::cpu {

class Buffer {
 public:
  Buffer() = default;
  // bytes may be 0. node -1: wherever first touched. Zero-filled. Throws std::bad_alloc, or std::system_error when the
  // node refuses.
  explicit Buffer(std::size_t bytes, int node = -1);
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
  // True when the node was asked for and the system granted it; false in containers that forbid mbind.
  bool bound() const { return bound_; }
  std::span<std::byte> bytes() const { return {data_, size_}; }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0, mapped_ = 0;
  bool bound_ = false;
};

// What the kernel says of transparent huge pages here: "always", "madvise", "never" or "unknown".
const char* huge_page_mode();

}  // namespace dodeca::cpu
