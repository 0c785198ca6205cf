#include "runtime/batch/run_folder.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <span>
#include <system_error>

#include "runtime/base/error.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/file_error.hpp"
#include "runtime/base/file_roles.hpp"
#include "runtime/base/folder.hpp"

namespace dodeca::runtime::batch {
namespace {

constexpr std::string_view kUnit = "unit-";
constexpr int kRemovals = 5;  // while others, who do not know yet, add files

// The number at the beginning, which is cut off; -1 where there is none, or none as it is written here: without zeros
// before it.
std::int64_t take_number(std::string_view& text) {
  if (text.starts_with('0') && text.size() > 1 && text[1] >= '0' && text[1] <= '9') return -1;
  std::int64_t number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number < 0) return -1;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

bool is_ours(std::string_view name) {
  return name.starts_with(kUnit) || name.starts_with("worker-") || name.starts_with("weights");
}

void remove_folder(const std::filesystem::path& path) {
  std::error_code error;
  for (int n = 0; n < kRemovals; ++n) {
    // A link is not followed: what it names is not ours.
    if (std::filesystem::symlink_status(path, error).type() != std::filesystem::file_type::directory) return;
    std::vector<std::filesystem::path> files;
    for (auto entry = std::filesystem::directory_iterator(path, error);
         !error && entry != std::filesystem::directory_iterator(); entry.increment(error))
      if (is_ours(entry->path().filename().string())) files.push_back(entry->path());
    for (const std::filesystem::path& file : files) std::filesystem::remove(file, error);
    if (::rmdir(path.c_str()) == 0) return;
  }
}

}  // namespace

RunFolder::RunFolder(const std::filesystem::path& output, std::uint64_t run)
    : path_(behind_links(output).string() + fmt::format(".shards.{}", run)) {}

std::filesystem::path RunFolder::claim(std::int64_t unit, std::int64_t generation) const {
  return path_ / fmt::format("{}{}.claim-{}", kUnit, unit, generation);
}

std::filesystem::path RunFolder::work(std::int64_t unit, std::int64_t generation) const {
  return path_ / fmt::format("{}{}.work-{}", kUnit, unit, generation);
}

std::filesystem::path RunFolder::done(std::int64_t unit) const { return path_ / fmt::format("{}{}.done", kUnit, unit); }

void RunFolder::make() const {
  while (::mkdir(path_.c_str(), 0777) != 0) {
    if (errno != EEXIST) throw file_error(errno, "create", path_);
    struct stat status {};
    if (::lstat(path_.c_str(), &status) != 0) {
      if (errno != ENOENT) throw file_error(errno, "look at", path_);
      continue;  // others finished the run just now, and removed it
    }
    if (!S_ISDIR(status.st_mode))
      throw Error(ErrorKind::kIo, fmt::format("{} is no folder, and dodeca makes no such file; remove it, or give the "
                                              "result another name",
                                              path_.string()));
    break;
  }
  sync_folder_of(path_);
}

std::vector<UnitFiles> RunFolder::list(std::int64_t n_units) const {
  std::vector<UnitFiles> units(static_cast<std::size_t>(n_units));
  std::error_code error;
  auto entry = std::filesystem::directory_iterator(path_, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::string_view rest = name;
    if (!rest.starts_with(kUnit)) continue;
    rest.remove_prefix(kUnit.size());
    const std::int64_t unit = take_number(rest);
    if (unit < 0 || unit >= n_units) continue;
    constexpr std::string_view kClaim = ".claim-";
    if (rest == ".done") {
      units[unit].done = true;
    } else if (rest.starts_with(kClaim)) {
      rest.remove_prefix(kClaim.size());
      const std::int64_t generation = take_number(rest);
      if (rest.empty() && generation <= kMaxGenerations)
        units[unit].generation = std::max(units[unit].generation, generation);
    }
  }
  if (error) throw file_error(error.value(), "read the folder", path_);
  return units;
}

void RunFolder::remove() const { remove_folder(path_); }

void RunFolder::remove_empty() const { ::rmdir(path_.c_str()); }

std::vector<RunFolder> RunFolder::all_of(const std::filesystem::path& output) {
  std::vector<RunFolder> folders;
  for (std::filesystem::path& path : numbered_files(behind_links(output), kTail))
    folders.push_back(RunFolder(std::move(path)));
  return folders;
}

std::string read_small_file(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return "";
  struct stat status {};
  bool good = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  std::string text;
  for (bool more = good; more;) {
    char piece[4096];
    const ssize_t n = ::read(fd, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n > 0) text.append(piece, static_cast<std::size_t>(n));
    good = n >= 0 && text.size() <= kSmallFile;
    more = good && n > 0;
  }
  ::close(fd);
  return good ? text : std::string();
}

std::string read_lines(const std::filesystem::path& path) {
  const InputFile file(path);
  std::string text(file.size(), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace dodeca::runtime::batch
