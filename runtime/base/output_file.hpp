// A file that appears whole or not at all: written under a temporary name beside the target, synced, renamed by
// finish(). Destroyed before finish() it removes the temporary file. Errors: Error{kDoesNotFit} with need and have when
// the disk is full, Error{kIo} with path and reason otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace dodeca::runtime {

class OutputFile {
 public:
  // expected_bytes, when known, is checked against the free space and reserved before anything is written.
  explicit OutputFile(std::filesystem::path path, std::uint64_t expected_bytes = 0);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t written() const { return written_; }
  void append(std::span<const std::byte> data);
  void append(const void* data, std::size_t size) { append({static_cast<const std::byte*>(data), size}); }
  void finish();

 private:
  void write_out(std::span<const std::byte> data);
  [[noreturn]] void fail(int error, const char* doing) const;

  std::filesystem::path path_, temporary_;
  std::vector<std::byte> buffer_;
  int fd_ = -1;
  std::uint64_t expected_ = 0, written_ = 0, flushed_ = 0;
};

}  // namespace dodeca::runtime
