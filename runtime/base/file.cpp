#include "runtime/base/file.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <semaphore>
#include <string>
#include <utility>

#include "runtime/base/error.hpp"

namespace dodeca::runtime {

namespace {

// Descriptors that files leave to everything else: results, standard streams, files that are read by turns.
constexpr rlim_t kReserved = 64;
constexpr std::uint64_t kKeptTogether = std::uint64_t{2} << 20;  // at most, of a file's pages
constexpr int kTurns = 16;                                       // files that are open for one read at once

std::counting_semaphore<kTurns>& turns() {
  static std::counting_semaphore<kTurns> semaphore(kTurns);
  return semaphore;
}

rlim_t descriptor_limit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

// Whether the descriptor is one of the last that the process may have.
bool is_scarce(int fd) {
  const rlim_t limit = descriptor_limit();
  return limit != RLIM_INFINITY && static_cast<rlim_t>(fd) >= limit - std::min(kReserved, limit / 4);
}

int open_for_reading(const std::filesystem::path& path) {
  // Non-blocking so that a FIFO without a writer is refused instead of hanging here; regular files ignore it.
  const auto try_to = [&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); };
  int fd = try_to();
  if (fd < 0 && errno == EMFILE && raise_descriptor_limit()) fd = try_to();
  if (fd >= 0) return fd;
  const std::string hint =
      errno == EMFILE ? fmt::format("; this process may have {} files open (ulimit -n)", descriptor_limit()) : "";
  throw Error(ErrorKind::kIo, fmt::format("cannot open {}: {}{}", path.string(), std::strerror(errno), hint));
}

}  // namespace

bool raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return false;
  limit.rlim_cur = limit.rlim_max;
  return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  fd_ = open_for_reading(path_);
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
  device_ = status.st_dev;
  inode_ = status.st_ino;
  if (is_scarce(fd_) && (!raise_descriptor_limit() || is_scarce(fd_))) ::close(std::exchange(fd_, -1));
  try {
    refuse_lfs_pointer();
  } catch (...) {
    if (fd_ >= 0) ::close(fd_);  // no destructor runs
    throw;
  }
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(std::exchange(other.size_, 0)),
      device_(other.device_),
      inode_(other.inode_) {
  drop_distance_ = other.drop_distance_;
  ahead_distance_ = other.ahead_distance_;
}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  std::swap(drop_distance_, other.drop_distance_);
  std::swap(ahead_distance_, other.ahead_distance_);
  return *this;
}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

void InputFile::refuse_lfs_pointer() const {
  constexpr std::string_view kBeginning = "version https://git-lfs.github.com/spec/";
  constexpr std::uint64_t kMaxPointer = 1024;  // of the Git-LFS specification
  if (size_ < kBeginning.size() || size_ > kMaxPointer) return;
  std::string text(static_cast<std::size_t>(size_), '\0');
  read(0, std::as_writable_bytes(std::span(text)));
  if (!text.starts_with(kBeginning)) return;
  constexpr std::string_view kSize = "\nsize ";
  const std::size_t at = text.find(kSize);
  const std::string bytes =
      at == std::string::npos
          ? ""
          : fmt::format(" of {} bytes", text.substr(at + kSize.size(), text.find('\n', at + 1) - at - kSize.size()));
  throw Error(ErrorKind::kBadFile, fmt::format("{} is a Git-LFS pointer, not the file{} that it stands for: 'git lfs "
                                               "pull' in its folder fetches that",
                                               path_.string(), bytes));
}

void InputFile::read(std::uint64_t offset, std::span<std::byte> dst) const {
  if (offset > size_ || dst.size() > size_ - offset) {
    throw Error(ErrorKind::kBadFile, fmt::format("{} bytes at {} wanted from {}, which has {} bytes", dst.size(),
                                                 offset, path_.string(), size_));
  }
  if (fd_ < 0) return read_by_turns(offset, dst);
  read_from(fd_, offset, dst);
}

void InputFile::read_by_turns(std::uint64_t offset, std::span<std::byte> dst) const {
  struct Turn {
    int fd = -1;
    Turn() { turns().acquire(); }
    ~Turn() {
      if (fd >= 0) ::close(fd);
      turns().release();
    }
  } turn;
  turn.fd = open_for_reading(path_);
  struct stat status {};
  if (::fstat(turn.fd, &status) != 0 || status.st_dev != device_ || status.st_ino != inode_)
    throw Error(ErrorKind::kBadFile, fmt::format("{} was replaced while it was read", path_.string()));
  read_from(turn.fd, offset, dst);
}

void InputFile::read_from(int fd, std::uint64_t offset, std::span<std::byte> dst) const {
  constexpr std::size_t kMaxPiece = std::size_t{1} << 30;  // the kernel cuts longer reads
  const std::uint64_t begin = offset;
  // Advice may be ignored, which is no failure.
  if (ahead_distance_ > 0 && offset + ahead_distance_ < size_)
    ::posix_fadvise(fd, static_cast<off_t>(offset + ahead_distance_), static_cast<off_t>(dst.size()),
                    POSIX_FADV_WILLNEED);
  while (!dst.empty()) {
    const ssize_t got = ::pread(fd, dst.data(), std::min(dst.size(), kMaxPiece), static_cast<off_t>(offset));
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
  if (drop_distance_ == 0 || offset <= drop_distance_) return;
  // Once more what was dropped last: pages that are kept together leave together.
  const std::uint64_t from = begin - std::min(begin, drop_distance_ + kKeptTogether);
  ::posix_fadvise(fd, static_cast<off_t>(from), static_cast<off_t>(offset - drop_distance_ - from),
                  POSIX_FADV_DONTNEED);
}

void InputFile::drop_all() const {
  if (fd_ >= 0) ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
}

}  // namespace dodeca::runtime
