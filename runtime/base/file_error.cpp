#include "runtime/base/file_error.hpp"

#include <sys/resource.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "runtime/base/folder.hpp"

namespace dodeca::runtime {
namespace {

std::string limit_text(int resource) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return "unlimited";
  return std::to_string(limit.rlim_cur);
}

}  // namespace

bool is_no_room(int error) { return error == ENOSPC || error == EDQUOT || error == EFBIG; }

std::uint64_t free_bytes(const std::filesystem::path& path) {
  struct statvfs status {};
  if (::statvfs(folder_of(path).c_str(), &status) != 0) return UINT64_MAX;
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

Error file_error(int error, std::string_view doing, const std::filesystem::path& path, std::uint64_t need) {
  const std::string wanted = need > 0 ? fmt::format("it needs {} bytes more", need) : "not all of it could be written";
  if (error == ENOSPC)
    return Error(ErrorKind::kDoesNotFit, fmt::format("disk full: cannot {} {}: {} and its file system has {} free",
                                                     doing, path.string(), wanted, free_bytes(path)));
  if (error == EDQUOT)
    return Error(ErrorKind::kDoesNotFit,
                 fmt::format("cannot {} {}: {} and the disk quota is used up", doing, path.string(), wanted));
  if (error == EFBIG)
    return Error(ErrorKind::kDoesNotFit,
                 fmt::format("cannot {} {}: {} and the file size limit of this process (ulimit -f) is {} bytes", doing,
                             path.string(), wanted, limit_text(RLIMIT_FSIZE)));
  if (error == EMFILE)
    return Error(ErrorKind::kIo, fmt::format("cannot {} {}: this process has {} files open, as many as it may "
                                             "(ulimit -n raises that)",
                                             doing, path.string(), limit_text(RLIMIT_NOFILE)));
  return Error(ErrorKind::kIo, fmt::format("cannot {} {}: {}", doing, path.string(), std::strerror(error)));
}

}  // namespace dodeca::runtime
