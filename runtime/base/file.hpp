// Read-only random access to a file whose size is fixed at open. Thread-safe: read() is pread().
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace dodeca::runtime {

class InputFile {
 public:
  explicit InputFile(std::filesystem::path path);  // throws Error{kIo} with path and reason; refuses directories
  InputFile(InputFile&&) noexcept;
  InputFile& operator=(InputFile&&) noexcept;
  ~InputFile();

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  // Fills dst from offset. Throws Error{kBadFile} when the range leaves the file (or it shrank), Error{kIo} on EIO.
  void read(std::uint64_t offset, std::span<std::byte> dst) const;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace dodeca::runtime
