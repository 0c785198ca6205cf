#include "runtime/base/own_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/base/error.hpp"
#include "runtime/base/file_error.hpp"

namespace dodeca::runtime {
namespace {

constexpr mode_t kMode = 0666;

// What speaks against the file; empty: nothing.
std::string_view suspicion(const struct stat& status) {
  if (S_ISLNK(status.st_mode)) return "it is a symbolic link";
  if (!S_ISREG(status.st_mode)) return "it is not a regular file";
  return status.st_nlink > 1 ? "it has other names too (hard links)" : "";
}

Error refused(const std::filesystem::path& path, std::string_view why) {
  return Error(ErrorKind::kIo,
               fmt::format("{} is not written to: {}, and dodeca makes no such file; remove it, or give "
                           "the result another name",
                           path.string(), why));
}

}  // namespace

int open_own_file(const std::filesystem::path& path, int flags) {
  // Non-blocking, so that a FIFO is refused below instead of waiting for its reader; regular files ignore it.
  const int fd = ::open(path.c_str(), flags | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, kMode);
  if (fd < 0 && (errno == ELOOP || errno == ENXIO)) check_own_file(path);
  if (fd < 0) throw file_error(errno, "create", path);
  struct stat status {};
  const int error = ::fstat(fd, &status) == 0 ? 0 : errno;
  const std::string_view why = error == 0 ? suspicion(status) : "";
  if (error == 0 && why.empty()) return fd;
  ::close(fd);
  if (error != 0) throw file_error(error, "look at", path);
  throw refused(path, why);
}

void check_own_file(const std::filesystem::path& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return;  // whoever opens it hears why
  if (const std::string_view why = suspicion(status); !why.empty()) throw refused(path, why);
}

}  // namespace dodeca::runtime
