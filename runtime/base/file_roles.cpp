#include "runtime/base/file_roles.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "runtime/base/error.hpp"
#include "runtime/base/folder.hpp"

namespace dodeca::runtime {
bool is_numbered_name(std::string_view name, std::string_view stem, std::string_view tail) {
  if (!name.starts_with(stem)) return false;
  name.remove_prefix(stem.size());
  for (const char c : tail) {
    if (c != '#') {
      if (name.empty() || name.front() != c) return false;
      name.remove_prefix(1);
      continue;
    }
    const std::size_t n_digits = std::min(name.find_first_not_of("0123456789"), name.size());
    if (n_digits == 0) return false;
    name.remove_prefix(n_digits);
  }
  return name.empty();
}

std::vector<std::filesystem::path> numbered_files(const std::filesystem::path& stem, std::string_view tail) {
  std::vector<std::filesystem::path> found;
  std::error_code error;
  const std::string name = stem.filename().string();
  for (auto entry = std::filesystem::directory_iterator(folder_of(stem), error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error))
    if (is_numbered_name(entry->path().filename().string(), name, tail)) found.push_back(entry->path());
  return found;
}

std::optional<FileRoles::Identity> FileRoles::identity_of(const std::filesystem::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return Identity{status.st_dev, status.st_ino};
}

FileRoles::Entry FileRoles::entry_of(const std::filesystem::path& path, std::string role, bool is_read) {
  Entry entry{.role = std::move(role), .shown = path.string(), .is_read = is_read};
  const std::filesystem::path target = behind_links(path);
  entry.file = identity_of(target);
  entry.folder = identity_of(folder_of(target));
  entry.name = target.filename().string();
  return entry;
}

void FileRoles::reads(const std::filesystem::path& path, std::string role) {
  if (path.empty()) return;
  entries_.push_back(entry_of(path == "-" ? "/dev/stdin" : path, std::move(role), true));
}

void FileRoles::writes(const std::filesystem::path& path, std::string role) {
  if (!path.empty()) entries_.push_back(entry_of(path, std::move(role), false));
}

void FileRoles::writes_numbered(const std::filesystem::path& stem, std::string_view tail, std::string role,
                                Against against) {
  Entry entry{.role = std::move(role), .shown = stem.string() + std::string(tail)};
  entry.folder = identity_of(folder_of(stem));
  entry.name = stem.filename().string();
  entry.tail = tail;
  entry.against = against;
  for (const std::filesystem::path& member : numbered_files(stem, tail))
    if (const auto file = identity_of(member)) entry.members.push_back(*file);
  entries_.push_back(std::move(entry));
}

void FileRoles::writes_standard_streams() {
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat status {};
    if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) continue;
    Entry entry{.role = "standard output or error", .shown = fd == STDOUT_FILENO ? "(1)" : "(2)"};
    entry.file = Identity{status.st_dev, status.st_ino};
    entry.against = Against::kOutputs;  // to read a text and append to it is no accident
    entries_.push_back(std::move(entry));
  }
}

void FileRoles::add(const FileRoles& other) {
  entries_.insert(entries_.end(), other.entries_.begin(), other.entries_.end());
  allowed_.insert(allowed_.end(), other.allowed_.begin(), other.allowed_.end());
}

bool FileRoles::same(const Entry& a, const Entry& b) {
  if (!a.tail.empty() && !b.tail.empty()) return false;
  if (!b.tail.empty()) return same(b, a);
  const bool same_folder = a.folder && a.folder == b.folder;
  if (!a.tail.empty()) {
    if (b.file && std::ranges::find(a.members, *b.file) != a.members.end()) return true;
    return same_folder && is_numbered_name(b.name, a.name, a.tail);
  }
  if (a.file || b.file) return a.file == b.file;
  return same_folder && a.name == b.name;
}

bool FileRoles::allowed(const Entry& writer, const Entry& reader) const {
  return writer.role == reader.role ||
         std::ranges::find(allowed_, std::pair(writer.role, reader.role)) != allowed_.end();
}

void FileRoles::check() const {
  for (std::size_t w = 0; w < entries_.size(); ++w) {
    const Entry& writer = entries_[w];
    if (writer.is_read) continue;
    for (std::size_t o = 0; o < entries_.size(); ++o) {
      const Entry& other = entries_[o];
      if (other.is_read ? writer.against == Against::kOutputs : o <= w) continue;
      if (allowed(writer, other) || !same(writer, other)) continue;
      throw Error(ErrorKind::kBadRequest, fmt::format("{} {} and {} {} are the same file: {}; give {} another name",
                                                      writer.role, writer.shown, other.role, other.shown,
                                                      other.is_read ? "what is read would be written over"
                                                                    : "one would be written over the other",
                                                      writer.role));
    }
  }
}

}  // namespace dodeca::runtime
