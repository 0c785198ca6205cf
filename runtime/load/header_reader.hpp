// Sequential, buffered reading of a file's header. Every length is checked against the bytes that remain before
// anything is allocated for it; running out is Error{kBadFile} that says what was being read and how many bytes are
// missing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "runtime/base/file.hpp"

namespace dodeca::runtime {

class HeaderReader {
 public:
  explicit HeaderReader(const InputFile& file);

  std::uint64_t position() const { return position_; }
  std::uint64_t remaining() const { return file_.size() - position_; }
  // Throws unless n more bytes are there; `what` names the thing that needs them.
  void need(std::uint64_t n, std::string_view what) const;
  void bytes(void* dst, std::size_t n, std::string_view what);

  template <class T>
  T scalar(std::string_view what) {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    bytes(&value, sizeof value, what);
    return value;
  }
  // u64 length, then the bytes.
  std::string string(std::uint64_t max_bytes, std::string_view what);

 private:
  const InputFile& file_;
  std::vector<std::byte> buffer_;  // file bytes [buffer_begin_, buffer_begin_ + buffer_.size())
  std::uint64_t buffer_begin_ = 0, position_ = 0;
};

}  // namespace dodeca::runtime
