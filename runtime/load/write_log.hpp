// The log beside an unfinished GGUF: which tensors are safely in it, with the checksum of each, so that a run that was
// killed goes on where it was. Lines of text: "dodeca-partial 1 IDENTITY", then "INDEX END CHECKSUM" for every tensor,
// END being the offset behind its data and padding. A torn last line and everything behind a line that makes no sense
// are ignored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dodeca::runtime {

// Of bytes that come in pieces of any size: FNV-1a over 64-bit words, the last one padded with zeros. Finds torn and
// lost writes, not forgeries.
class Checksum {
 public:
  void add(std::span<const std::byte> data);
  std::uint64_t value() const;

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325u, word_ = 0;
  std::size_t filled_ = 0;  // bytes of word_
};

struct WrittenTensor {
  std::uint64_t end = 0, checksum = 0;
};

// The tensors that the log at `path` vouches for; empty when there is none or it is another work's.
std::vector<WrittenTensor> read_write_log(const std::filesystem::path& path, std::string_view identity);

// Appends to a log. Each add() is on disk when it returns. Error{kIo}.
class WriteLog {
 public:
  // Begins anew with the entries that stand.
  WriteLog(std::filesystem::path path, std::string_view identity, std::span<const WrittenTensor> entries);
  ~WriteLog();
  WriteLog(const WriteLog&) = delete;
  WriteLog& operator=(const WriteLog&) = delete;
  void add(std::span<const WrittenTensor> entries);
  void remove();  // the work is done

 private:
  void write(const std::string& lines);
  std::filesystem::path path_;
  int fd_ = -1;
  std::size_t n_ = 0;
};

}  // namespace dodeca::runtime
