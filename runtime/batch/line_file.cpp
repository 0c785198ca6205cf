#include "runtime/batch/line_file.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/error.hpp"
#include "runtime/base/file_error.hpp"
#include "runtime/base/folder.hpp"
#include "runtime/base/own_file.hpp"

namespace dodeca::runtime::batch {

LineFile::LineFile(std::filesystem::path path, Kind kind)
    : path_(std::move(path)), synced_(std::chrono::steady_clock::now()) {
  fd_ = kind == Kind::kNamed ? ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666) : open_own_file(path_, O_RDWR);
  if (fd_ < 0) fail(errno, "open");
  struct stat status {};
  std::optional<Error> refused;
  if (::fstat(fd_, &status) != 0) {
    refused = Error(ErrorKind::kIo, fmt::format("cannot read {}: {}", path_.string(), std::strerror(errno)));
  } else if (!S_ISREG(status.st_mode)) {
    refused = Error(ErrorKind::kIo,
                    fmt::format("{} is not a regular file: results must be able to survive a restart", path_.string()));
  } else if (kind != Kind::kPrivate && ::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    refused = errno == EWOULDBLOCK
                  ? Error(ErrorKind::kIo, fmt::format("another process is writing {}", path_.string()))
                  : Error(ErrorKind::kIo, fmt::format("cannot lock {}: {}", path_.string(), std::strerror(errno)));
  }
  if (refused) {
    ::close(fd_);
    throw *refused;
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
  dirty_ = size_ > 0;  // whoever wrote it may have been killed before a sync
  try {
    sync_folder_of(path_);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

LineFile::~LineFile() { ::close(fd_); }

void LineFile::fail(int error, std::string_view doing) const {
  if (is_no_room(error))
    throw Error(
        ErrorKind::kDoesNotFit,
        fmt::format(
            "no room to {} {} ({} bytes so far): {}; nothing is lost, the same command goes on when there is room",
            doing, path_.string(), size_, std::strerror(error)));
  throw file_error(error, doing, path_);
}

void LineFile::trust(std::uint64_t bytes) { synced_size_ = std::min(bytes, size_); }

std::uint64_t LineFile::recover(const std::function<bool(std::string_view, std::int64_t)>& valid) {
  std::vector<char> buffer(std::size_t{1} << 20);
  std::string line;
  std::uint64_t offset = 0, good = 0;  // bytes read; end of the last accepted line
  std::int64_t number = 0, bad_line = 0;
  bool lost = false;
  while (offset < size_ && !lost) {
    const ssize_t n = ::pread(fd_, buffer.data(), buffer.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(errno, "read");
    if (n == 0) break;
    std::string_view chunk(buffer.data(), static_cast<std::size_t>(n));
    for (std::size_t newline; !lost && (newline = chunk.find('\n')) != std::string_view::npos;
         chunk.remove_prefix(newline + 1)) {
      line += chunk.substr(0, newline);
      offset += newline + 1;
      ++number;
      if (line.find('\0') != std::string::npos) {
        lost = true;
      } else if (!valid(line, number)) {
        if (bad_line == 0) bad_line = number;
      } else if (bad_line != 0) {
        throw Error(ErrorKind::kBadFile,
                    fmt::format("line {} of {} is no result line, but line {} is: the file was changed", bad_line,
                                path_.string(), number))
            .with(Remedy::kBeginAnew);
      } else {
        good = offset;
      }
      line.clear();
    }
    line += chunk;
    offset += chunk.size();
  }
  const std::uint64_t cut = size_ - good;
  synced_size_ = std::min(synced_size_, good);
  if (cut > 0)
    cut_to(good);
  else
    sync();
  return cut;
}

void LineFile::cut_to(std::uint64_t size) {
  while (::ftruncate(fd_, static_cast<off_t>(size)) != 0)
    if (errno != EINTR) fail(errno, "cut");
  size_ = size;
  synced_size_ = std::min(synced_size_, size);
  dirty_ = true;
  sync();
}

void LineFile::clear() { cut_to(0); }

void LineFile::append(std::string_view text) {
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t n = ::pwrite(fd_, text.data() + written, text.size() - written, static_cast<off_t>(size_ + written));
    if (n > 0) {
      written += static_cast<std::size_t>(n);
      continue;
    }
    const int error = n == 0 ? ENOSPC : errno;
    if (n < 0 && error == EINTR) continue;
    // Best effort: should this fail too, the torn end is cut at the next start.
    if (written > 0 && ::ftruncate(fd_, static_cast<off_t>(size_)) == 0) ::fdatasync(fd_);
    fail(error, "write to");
  }
  size_ += text.size();
  dirty_ = true;
}

bool LineFile::sync() {
  if (dirty_ && ::fdatasync(fd_) != 0) {
    const int error = errno;
    // The system forgets what it could not write: the next sync would call these lines durable.
    if (size_ == synced_size_ || ::ftruncate(fd_, static_cast<off_t>(synced_size_)) != 0) fail(error, "sync");
    const std::uint64_t lost = size_ - synced_size_;
    size_ = synced_size_;
    ::fdatasync(fd_);
    throw Error(
        is_no_room(error) ? ErrorKind::kDoesNotFit : ErrorKind::kIo,
        fmt::format("cannot sync {}: {}; its last {} bytes, which may not have reached the disk, are taken out: "
                    "the same command makes them anew",
                    path_.string(), std::strerror(error), lost));
  }
  dirty_ = false;
  synced_size_ = size_;
  synced_ = std::chrono::steady_clock::now();
  return true;
}

bool LineFile::sync_if_due(std::chrono::milliseconds interval) {
  if (dirty_ && std::chrono::steady_clock::now() - synced_ < interval) return false;
  return sync();
}

}  // namespace dodeca::runtime::batch
