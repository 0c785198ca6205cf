// Read-only random access to a file whose size is fixed at open. Thread-safe: read() is pread().
//
// Models come in a thousand files and processes have as many descriptors at first: the limit is raised as far as the
// system allows, and where that is not enough a file is opened for each read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace dodeca::runtime {

class InputFile {
 public:
  // Throws Error{kIo} with path and reason; refuses directories. Error{kBadFile} for a Git-LFS pointer, which stands where
  // the file itself was not fetched.
  explicit InputFile(std::filesystem::path path);
  InputFile(InputFile&&) noexcept;
  InputFile& operator=(InputFile&&) noexcept;
  ~InputFile();

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  // Fills dst from offset. Throws Error{kBadFile} when the range leaves the file (or it shrank), Error{kIo} on EIO.
  void read(std::uint64_t offset, std::span<std::byte> dst) const;
  // From now on what lies `distance` bytes before a read leaves the system's page cache: for files that would take the
  // memory which their contents need. So far back no thread still reads, and pages that the system keeps together are
  // whole. Before threads read.
  void drop_behind(std::uint64_t distance = std::uint64_t{256} << 20) const { drop_distance_ = distance; }
  // From now on every read has the system begin to read as much again, `distance` bytes further on: for files that are
  // read in order, more or less, by threads that do something with what they read while the disk would wait. Before
  // threads read.
  void read_ahead(std::uint64_t distance = std::uint64_t{64} << 20) const { ahead_distance_ = distance; }
  // All of it leaves now.
  void drop_all() const;

 private:
  void refuse_lfs_pointer() const;
  void read_from(int fd, std::uint64_t offset, std::span<std::byte> dst) const;
  void read_by_turns(std::uint64_t offset, std::span<std::byte> dst) const;
  std::filesystem::path path_;
  int fd_ = -1;                                                   // -1: opened for each read
  mutable std::uint64_t drop_distance_ = 0, ahead_distance_ = 0;  // 0: it stays; nothing is read ahead
  std::uint64_t size_ = 0, device_ = 0, inode_ = 0;
};

// Lets the process have as many descriptors as the system allows it; false when it has them already.
bool raise_descriptor_limit();

}  // namespace dodeca::runtime
