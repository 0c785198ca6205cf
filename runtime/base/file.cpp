#include "runtime/base/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/base/error.hpp"

namespace dodeca::runtime {

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  // Non-blocking so that a FIFO without a writer is refused below instead of hanging here; regular files ignore it.
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) {
    throw Error(ErrorKind::kIo, fmt::format("cannot open {}: {}", path_.string(), std::strerror(errno)));
  }
  struct stat status {};
  const int failed = ::fstat(fd_, &status) != 0 ? errno : 0;
  if (failed != 0 || !S_ISREG(status.st_mode)) {
    ::close(std::exchange(fd_, -1));
    const std::string why = failed != 0               ? std::strerror(failed)
                            : S_ISDIR(status.st_mode) ? "it is a directory"
                                                      : "it is not a regular file";
    throw Error(ErrorKind::kIo, fmt::format("cannot read {}: {}", path_.string(), why));
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(std::exchange(other.size_, 0)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

void InputFile::read(std::uint64_t offset, std::span<std::byte> dst) const {
  if (offset > size_ || dst.size() > size_ - offset) {
    throw Error(ErrorKind::kBadFile, fmt::format("{} bytes at {} wanted from {}, which has {} bytes", dst.size(),
                                                 offset, path_.string(), size_));
  }
  constexpr std::size_t kMaxPiece = std::size_t{1} << 30;  // the kernel cuts longer reads
  while (!dst.empty()) {
    const ssize_t got = ::pread(fd_, dst.data(), std::min(dst.size(), kMaxPiece), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw Error(ErrorKind::kIo,
                  fmt::format("cannot read {} at byte {}: {}", path_.string(), offset, std::strerror(errno)));
    }
    if (got == 0) {
      throw Error(ErrorKind::kBadFile, fmt::format("{} shrank while it was read: it had {} bytes and now ends at {}",
                                                   path_.string(), size_, offset));
    }
    dst = dst.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
}

}  // namespace dodeca::runtime
