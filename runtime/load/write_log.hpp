// The log beside an unfinished GGUF: which tensors are safely in it, with the checksum of each, so that a run that was
// killed goes on where it was. Lines of text: "dodeca-partial 2 IDENTITY", then "INDEX END CHECKSUM SOURCE" for every
// tensor, END being the offset behind its data and padding, SOURCE the checksum of what the data were made from. A torn
// last line and everything behind a line that makes no sense are ignored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dodeca::runtime {

struct WrittenTensor {
  std::uint64_t end = 0, checksum = 0, source = 0;
};

// What the log at `path` vouches for; nullopt when there is none or it was never begun. A log of another version has an
// identity that no work has.
struct LoggedWork {
  std::string identity;
  std::vector<WrittenTensor> tensors;
};
std::optional<LoggedWork> read_write_log(const std::filesystem::path& path);

// Appends to a log. Each add() is on disk when it returns. Error{kIo}.
class WriteLog {
 public:
  // Locks the log, which is made where there is none: two processes cannot do the same work at once.
  explicit WriteLog(std::filesystem::path path);
  ~WriteLog();  // a log that was never begun goes away
  // Goes on behind the entries that stand, or begins anew where the log does not begin with them.
  void begin(std::string_view identity, std::span<const WrittenTensor> entries);
  WriteLog(const WriteLog&) = delete;
  WriteLog& operator=(const WriteLog&) = delete;
  void add(std::span<const WrittenTensor> entries);
  void remove();  // the work is done

 private:
  bool begins_with(const std::string& text) const;
  void cut_to(std::size_t size);
  void write(const std::string& lines);
  std::filesystem::path path_;
  int fd_ = -1;
  std::size_t n_ = 0;
};

}  // namespace dodeca::runtime
