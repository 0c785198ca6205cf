#include "runtime/base/folder.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/base/error.hpp"

namespace dodeca::runtime {
namespace {

constexpr int kMaxLinks = 40;  // as the system follows

}  // namespace

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

std::filesystem::path behind_links(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path end = path;
  for (int n = 0; std::filesystem::is_symlink(end, error); ++n) {
    const std::filesystem::path target = std::filesystem::read_symlink(end, error);
    if (error || n == kMaxLinks) return path;
    end = target.is_absolute() ? target : folder_of(end) / target;
  }
  return end;
}

void sync_folder_of(const std::filesystem::path& path) {
  const std::filesystem::path folder = folder_of(path);
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  if (error == EIO || error == ENOSPC || error == EDQUOT)
    throw Error(ErrorKind::kIo, fmt::format("cannot make the name of {} durable: sync of its folder: {}", path.string(),
                                            std::strerror(error)));
}

}  // namespace dodeca::runtime
