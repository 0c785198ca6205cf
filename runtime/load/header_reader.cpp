#include "runtime/load/header_reader.hpp"

#include <algorithm>
#include <cstring>

#include "runtime/base/error.hpp"

namespace dodeca::runtime {

namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;
// DeepSeek-V3's header has 10 MB. The cap keeps a sparse file of any size from being read into memory as one: with it a
// hostile header costs 2 GiB at most (an array of empty strings).
constexpr std::uint64_t kMaxHeaderBytes = std::uint64_t{512} << 20;

}  // namespace

HeaderReader::HeaderReader(const InputFile& file) : file_(file) {}

void HeaderReader::need(std::uint64_t n, std::string_view what) const {
  if (n > remaining()) {
    throw Error(ErrorKind::kBadFile,
                fmt::format("{} needs {} bytes at {} and the file ends at {}: damaged, or an incomplete download?",
                            what, n, position_, file_.size()))
        .with("file", file_.path().string());
  }
  if (n > kMaxHeaderBytes - std::min(position_, kMaxHeaderBytes)) {
    throw Error(ErrorKind::kBadFile, fmt::format("the header is longer than {} bytes: {} at {} needs {} more",
                                                 kMaxHeaderBytes, what, position_, n))
        .with("file", file_.path().string());
  }
}

void HeaderReader::bytes(void* dst, std::size_t n, std::string_view what) {
  need(n, what);
  auto* out = static_cast<std::byte*>(dst);
  while (n > 0) {
    if (position_ == buffer_begin_ + buffer_.size()) {
      if (n >= kBufferBytes) {
        file_.read(position_, {out, n});
        position_ += n;
        buffer_begin_ = position_;
        buffer_.clear();
        return;
      }
      buffer_begin_ = position_;
      buffer_.resize(std::min<std::uint64_t>(kBufferBytes, remaining()));
      file_.read(position_, buffer_);
    }
    const std::size_t inside = static_cast<std::size_t>(position_ - buffer_begin_);
    const std::size_t take = std::min(n, buffer_.size() - inside);
    std::memcpy(out, buffer_.data() + inside, take);
    out += take;
    n -= take;
    position_ += take;
  }
}

std::string HeaderReader::string(std::uint64_t max_bytes, std::string_view what) {
  const auto length = scalar<std::uint64_t>(what);
  if (length > max_bytes) {
    throw Error(ErrorKind::kBadFile,
                fmt::format("{} at {} claims {} bytes; at most {} are allowed", what, position_, length, max_bytes))
        .with("file", file_.path().string());
  }
  need(length, what);
  std::string text(length, '\0');
  bytes(text.data(), text.size(), what);
  return text;
}

}  // namespace dodeca::runtime
