#include "runtime/load/write_log.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>

#include "runtime/base/error.hpp"
#include "runtime/base/file_error.hpp"
#include "runtime/base/folder.hpp"
#include "runtime/base/own_file.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::string_view kAnyHeading = "dodeca-partial ", kHeading = "dodeca-partial 2 ";

std::string heading(std::string_view identity) { return fmt::format("{}{}\n", kHeading, identity); }

std::string line_of(std::size_t index, const WrittenTensor& tensor) {
  return fmt::format("{} {} {:016x} {:016x}\n", index, tensor.end, tensor.checksum, tensor.source);
}

template <class T>
bool take(std::string_view& text, T& value, int base, char after) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end == text.data() + text.size() || *end != after) return false;
  text.remove_prefix(end - text.data() + 1);
  return true;
}

}  // namespace

std::optional<LoggedWork> read_write_log(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string line;
  if (!std::getline(in, line) || in.eof() || !line.starts_with(kAnyHeading)) return std::nullopt;
  const bool other_version = !line.starts_with(kHeading);
  LoggedWork work{.identity = other_version ? line : line.substr(kHeading.size()), .tensors = {}};
  while (std::getline(in, line) && !in.eof()) {  // a last line without its end is torn
    line += '\n';
    std::string_view rest = line;
    std::size_t index = 0;
    WrittenTensor tensor;
    if (!take(rest, index, 10, ' ') || !take(rest, tensor.end, 10, ' ') || index != work.tensors.size()) break;
    if (!other_version && (!take(rest, tensor.checksum, 16, ' ') || !take(rest, tensor.source, 16, '\n'))) break;
    work.tensors.push_back(tensor);
  }
  return work;
}

WriteLog::WriteLog(std::filesystem::path path) : path_(std::move(path)) {
  fd_ = open_own_file(path_, O_RDWR);
  const auto refuse = [&](const std::string& why) {
    ::close(fd_);
    return Error(ErrorKind::kIo, why);
  };
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const bool busy = errno == EWOULDBLOCK;
    throw refuse(fmt::format("cannot lock {}: {}", path_.string(),
                             busy ? "another process is doing the same work" : std::strerror(errno)));
  }
  struct stat own {
  }, named{};
  if (::fstat(fd_, &own) != 0 || ::lstat(path_.c_str(), &named) != 0 || own.st_ino != named.st_ino ||
      own.st_dev != named.st_dev)
    throw refuse(fmt::format("another process finished the work of {} at this moment", path_.string()));
}

WriteLog::~WriteLog() {
  struct stat own {};
  std::error_code ignored;
  if (::fstat(fd_, &own) == 0 && own.st_size == 0 && own.st_nlink > 0) std::filesystem::remove(path_, ignored);
  ::close(fd_);
}

// What stands is never written anew: at no moment is it missing.
void WriteLog::begin(std::string_view identity, std::span<const WrittenTensor> entries) {
  std::string standing = heading(identity);
  for (const WrittenTensor& tensor : entries) standing += line_of(n_++, tensor);
  const bool there = begins_with(standing);
  cut_to(there ? standing.size() : 0);
  if (!there) write(standing);
  sync_folder_of(path_);  // of the files beside it too: what is noted from here on is not lost with their names
}

bool WriteLog::begins_with(const std::string& text) const {
  std::string found(text.size(), '\0');
  std::size_t n = 0;
  while (n < found.size()) {
    const ssize_t got = ::pread(fd_, found.data() + n, found.size() - n, static_cast<off_t>(n));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw file_error(errno, "read", path_);
    if (got == 0) return false;
    n += static_cast<std::size_t>(got);
  }
  return found == text;
}

void WriteLog::cut_to(std::size_t size) {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0 || ::lseek(fd_, 0, SEEK_END) < 0)
    throw file_error(errno, "cut", path_);
}

void WriteLog::write(const std::string& lines) {
  std::string_view rest = lines;
  while (!rest.empty()) {
    const ssize_t put = ::write(fd_, rest.data(), rest.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw file_error(errno, "write", path_, rest.size());
    rest.remove_prefix(put);
  }
  if (::fdatasync(fd_) != 0) throw file_error(errno, "sync", path_);
}

void WriteLog::add(std::span<const WrittenTensor> entries) {
  if (entries.empty()) return;
  std::string lines;
  for (const WrittenTensor& tensor : entries) lines += line_of(n_++, tensor);
  write(lines);
}

void WriteLog::remove() {
  std::error_code ignored;
  if (std::filesystem::remove(path_, ignored)) sync_folder_of(path_);
}

}  // namespace dodeca::runtime
