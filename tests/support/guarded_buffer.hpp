// An array whose last element ends at a page that may not be touched: reading or writing past it ends the test at once.
// The bytes before it are 0xff (NaN as a float, half or bfloat16), and intact() tells whether they still are.
//   GuardedBuffer<float> x(n);  kernel(x.data(), n);  CHECK(x.intact());
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <new>
#include <span>
#include <type_traits>

namespace dodeca::tests {

template <class T>
class GuardedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  // `alignment` of the first element, a power of two: bytes between the last element and the guard are then 0xff too.
  explicit GuardedBuffer(std::size_t n, std::size_t alignment = alignof(T)) : n_(n) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t padded = (n * sizeof(T) + alignment - 1) / alignment * alignment;
    used_ = (padded + page - 1) / page * page + page;  // at least one page of slack in front
    mapped_ = used_ + page;
    void* base = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<unsigned char*>(base);
    std::memset(base_, 0xff, used_);
    mprotect(base_ + used_, page, PROT_NONE);
    data_ = reinterpret_cast<T*>(base_ + used_ - padded);
  }
  explicit GuardedBuffer(std::span<const T> values, std::size_t alignment = alignof(T))
      : GuardedBuffer(values.size(), alignment) {
    if (!values.empty()) std::memcpy(data_, values.data(), values.size_bytes());
  }
  ~GuardedBuffer() { munmap(base_, mapped_); }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  T* data() const { return data_; }
  std::size_t size() const { return n_; }
  T& operator[](std::size_t i) const { return data_[i]; }
  std::span<T> span() const { return {data_, n_}; }

  bool intact() const {
    const auto* first = reinterpret_cast<const unsigned char*>(data_);
    for (const unsigned char* p = base_; p < first; ++p) {
      if (*p != 0xff) return false;
    }
    for (const unsigned char* p = first + n_ * sizeof(T); p < base_ + used_; ++p) {
      if (*p != 0xff) return false;
    }
    return true;
  }

 private:
  std::size_t n_, used_ = 0, mapped_ = 0;
  unsigned char* base_ = nullptr;
  T* data_ = nullptr;
};

}  // namespace dodeca::tests
