// A file that appears whole or not at all: written under a temporary name beside the target, synced, renamed by
// finish(). Destroyed before finish() it removes the temporary file, unless it is one to be continued. Temporary files are
// the program's own (own_file.hpp): no link that somebody put under their name is written through. Errors:
// Error{kDoesNotFit} with need and have when the disk is full, Error{kIo} with path and reason otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

namespace dodeca::runtime {

class OutputFile {
 public:
  // A symbolic link at the path: the file behind it is replaced, as is right for names that users give; or the link
  // itself, for names that the program made of those.
  enum class Links { kFollow, kReplace };
  // expected_bytes, when known, is checked against the free space and reserved before anything is written.
  explicit OutputFile(std::filesystem::path path, std::uint64_t expected_bytes = 0, Links links = Links::kFollow);
  // Continues PATH.partial after its first `keep` bytes (0: anew), and leaves it there when destroyed before finish().
  // Error{kIo} when another process is writing it.
  struct Continued {
    std::uint64_t keep = 0;
  };
  OutputFile(std::filesystem::path path, std::uint64_t expected_bytes, Continued continued,
             Links links = Links::kFollow);
  static std::filesystem::path partial_name(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t written() const { return written_; }
  void append(std::span<const std::byte> data);
  void append(const void* data, std::size_t size) { append({static_cast<const std::byte*>(data), size}); }
  void sync();  // what was appended so far survives a power cut
  void finish();
  // Gives it the name only where no file has it, also when processes on several machines do so at the same time: false,
  // and nothing stays, where one has. Not for a file that is continued. Error{kUnsupported} as add_name().
  bool finish_new();

 private:
  void check_target(Links links);
  void take_over(std::uint64_t keep);
  void reserve();
  void write_out(std::span<const std::byte> data);
  void write_all();
  [[noreturn]] void fail(int error, const char* doing) const;

  std::filesystem::path path_, temporary_;
  std::vector<std::byte> buffer_;
  int fd_ = -1;
  bool keep_ = false;  // when destroyed unfinished
  std::uint64_t expected_ = 0, written_ = 0, flushed_ = 0;
};

// Gives a file another name (a hard link) in its folder, durably; false when a file has that name. On storage that
// machines share one of all who try at the same time succeeds: O_EXCL alone would show a file that is still empty.
// Error{kUnsupported} where the file system has no hard links, Error{kIo} otherwise.
bool add_name(const std::filesystem::path& file, const std::filesystem::path& name);

// Removes a file, if there is one; that survives a power cut when it returns.
void remove_file(const std::filesystem::path& path);

}  // namespace dodeca::runtime
