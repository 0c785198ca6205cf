#include "runtime/base/output_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "runtime/base/error.hpp"
#include "runtime/base/file_error.hpp"
#include "runtime/base/folder.hpp"
#include "runtime/base/own_file.hpp"

namespace dodeca::runtime {

namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 20;
constexpr mode_t kMode = 0666;

Error disk_full(const std::filesystem::path& path, std::uint64_t need, std::uint64_t have) {
  return Error(ErrorKind::kDoesNotFit, fmt::format("disk full: {} needs {} bytes more and its file system has {} free",
                                                   path.string(), need, have));
}

}  // namespace

void OutputFile::check_target(Links links) {
  if (links == Links::kFollow) path_ = behind_links(path_);
  std::error_code ignored;
  const auto status = std::filesystem::symlink_status(path_, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
      !std::filesystem::is_symlink(status)) {
    throw Error(ErrorKind::kIo, fmt::format("cannot write {}: it exists and is not a regular file", path_.string()));
  }
  rlimit limit{};
  if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && expected_ > limit.rlim_cur) {
    throw Error(ErrorKind::kDoesNotFit, fmt::format("{} needs {} bytes and the file size limit of this process is {}",
                                                    path_.string(), expected_, limit.rlim_cur));
  }
}

// Not every file system can reserve; the writes find out then.
void OutputFile::reserve() {
  if (expected_ == 0 || ::fallocate(fd_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(expected_)) == 0) return;
  if (errno != ENOSPC && errno != EDQUOT) return;
  ::close(std::exchange(fd_, -1));
  std::error_code ignored;
  if (!keep_) std::filesystem::remove(temporary_, ignored);
  throw disk_full(path_, expected_ - written_, free_bytes(path_));
}

OutputFile::OutputFile(std::filesystem::path path, std::uint64_t expected_bytes, Links links)
    : path_(std::move(path)), expected_(expected_bytes) {
  check_target(links);
  if (const std::uint64_t have = free_bytes(path_); expected_ > have) throw disk_full(path_, expected_, have);
  for (int attempt = 0; fd_ < 0; ++attempt) {
    temporary_ = path_;
    temporary_ += fmt::format(".{}.{}.tmp", ::getpid(), attempt);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMode);
    if (fd_ < 0 && (errno != EEXIST || attempt == 100)) {
      throw file_error(errno, "create", temporary_);
    }
  }
  reserve();
  buffer_.reserve(kBufferBytes);
}

std::filesystem::path OutputFile::partial_name(const std::filesystem::path& path) {
  std::filesystem::path name = path;
  name += ".partial";
  return name;
}

OutputFile::OutputFile(std::filesystem::path path, std::uint64_t expected_bytes, Continued continued, Links links)
    : path_(std::move(path)),
      keep_(true),
      expected_(expected_bytes),
      written_(continued.keep),
      flushed_(continued.keep) {
  check_target(links);
  temporary_ = partial_name(path_);
  fd_ = open_own_file(temporary_, O_WRONLY);
  try {
    take_over(continued.keep);
    reserve();
  } catch (...) {
    if (fd_ >= 0) ::close(fd_);
    throw;
  }
  buffer_.reserve(kBufferBytes);
}

// Locks the file that is to be continued and cuts it to what is kept.
void OutputFile::take_over(std::uint64_t keep) {
  const auto error = [&](int why, const char* doing) {
    return Error(ErrorKind::kIo, fmt::format("cannot {} {}: {}", doing, temporary_.string(), std::strerror(why)));
  };
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0)
    throw error(errno, errno == EWOULDBLOCK ? "lock (another process is writing it)" : "lock");
  struct stat own {
  }, named{};
  if (::fstat(fd_, &own) != 0) throw error(errno, "look at");
  // Whoever had the lock may have finished since `keep` was found: what is open here is the whole file, or a new one.
  if (::lstat(temporary_.c_str(), &named) != 0 || own.st_dev != named.st_dev || own.st_ino != named.st_ino ||
      static_cast<std::uint64_t>(own.st_size) < keep)
    throw Error(ErrorKind::kIo, fmt::format("another process finished {} at this moment", temporary_.string()));
  // Blocks that an earlier run reserved behind its data count as there.
  const std::uint64_t there = std::max(keep, static_cast<std::uint64_t>(own.st_blocks) * 512);
  const std::uint64_t need = expected_ - std::min(expected_, there);
  if (const std::uint64_t have = free_bytes(path_); need > have) {
    std::error_code ignored;
    if (own.st_size == 0) std::filesystem::remove(temporary_, ignored);  // nothing is in it to go on with
    throw disk_full(path_, need, have);
  }
  if (::ftruncate(fd_, static_cast<off_t>(keep)) != 0) throw error(errno, "truncate");
  if (::lseek(fd_, 0, SEEK_END) < 0) throw error(errno, "seek in");
}

OutputFile::~OutputFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  std::error_code ignored;
  if (!keep_) std::filesystem::remove(temporary_, ignored);
}

void OutputFile::append(std::span<const std::byte> data) {
  written_ += data.size();
  if (buffer_.size() + data.size() > kBufferBytes) {
    write_out(buffer_);
    buffer_.clear();
  }
  if (data.size() >= kBufferBytes) {
    write_out(data);
  } else {
    buffer_.insert(buffer_.end(), data.begin(), data.end());
  }
}

void OutputFile::write_out(std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t put = ::write(fd_, data.data(), data.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail(errno, "write");
    data = data.subspan(static_cast<std::size_t>(put));
    flushed_ += static_cast<std::uint64_t>(put);
  }
}

void OutputFile::fail(int error, const char* doing) const {
  if (is_no_room(error)) throw file_error(error, doing, path_, std::max(expected_, written_) - flushed_);
  throw Error(ErrorKind::kIo, fmt::format("cannot {} {} after {} bytes: {}", doing, temporary_.string(), flushed_,
                                          std::strerror(error)));
}

void OutputFile::sync() {
  write_out(buffer_);
  std::vector<std::byte>().swap(buffer_);  // of many files that are synced and not finished, none keeps one
  if (::fdatasync(fd_) != 0) fail(errno, "sync");
}

void OutputFile::write_all() {
  write_out(buffer_);
  buffer_.clear();
  if (::fsync(fd_) != 0) fail(errno, "sync");
}

void OutputFile::finish() {
  write_all();
  // Renamed before it is closed: the lock of a continued file must outlive its temporary name. After the sync a close
  // has nothing to tell.
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno, "rename");
  ::close(std::exchange(fd_, -1));
  sync_folder_of(path_);
}

bool OutputFile::finish_new() {
  write_all();
  const bool made = add_name(temporary_, path_);
  ::close(std::exchange(fd_, -1));
  std::error_code ignored;
  std::filesystem::remove(temporary_, ignored);
  return made;
}

bool add_name(const std::filesystem::path& file, const std::filesystem::path& name) {
  if (::link(file.c_str(), name.c_str()) == 0) {
    sync_folder_of(name);
    return true;
  }
  const int error = errno;
  // A file server whose answer was lost is asked again, and finds what the first time did.
  struct stat own {
  }, named{};
  if (::stat(file.c_str(), &own) == 0 && ::lstat(name.c_str(), &named) == 0 && own.st_dev == named.st_dev &&
      own.st_ino == named.st_ino)
    return true;
  if (error == EEXIST) return false;
  if (error == EPERM || error == EOPNOTSUPP || error == ENOSYS)
    throw Error(
        ErrorKind::kUnsupported,
        fmt::format("the file system of {} has no hard links, by which processes agree who is first", name.string()));
  throw file_error(error, "create", name);
}

void remove_file(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::remove(path, error)) sync_folder_of(path);
  if (error) throw Error(ErrorKind::kIo, fmt::format("cannot remove {}: {}", path.string(), error.message()));
}

}  // namespace dodeca::runtime
