// An append-only file of lines that survives kill -9, power cuts and full disks: each line is one write(), synced on a
// schedule; a torn end is cut when the file is opened again; one process at a time. What counts is what was synced:
// after a sync that failed nobody knows which of the lines since the last good one reached the disk, so they go.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

namespace dodeca::runtime::batch {

class LineFile {
 public:
  enum class Kind {
    kNamed,   // the user gave the path
    kOwn,     // the program's own (base/own_file.hpp)
    kPrivate  // likewise, and no other process writes it: not locked, which storage that machines share may not offer
  };
  // Opens or creates, and locks. Throws Error{kIo} when another process has it, when it is no regular file, or when the
  // system refuses.
  explicit LineFile(std::filesystem::path path, Kind kind = Kind::kNamed);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  // Bytes that a sync of this process, or of the one that said so in trust(), made durable.
  std::uint64_t synced_size() const { return synced_size_; }
  void trust(std::uint64_t bytes);

  // Shows every complete line (without its newline, with its number from 1) and cuts what follows the last one that
  // `valid` accepts; returns the bytes cut. A line that is not accepted but followed by one that is: Error{kBadFile},
  // nothing is cut. A line with NUL bytes was lost before it reached the disk: it and all behind it are cut unseen.
  // What was found is synced: it counts as durable from here on.
  std::uint64_t recover(const std::function<bool(std::string_view line, std::int64_t number)>& valid);
  void clear();  // empties it, durably
  // text: one line with its newline. On failure nothing of it stays: Error{kDoesNotFit} when the disk is full, else
  // Error{kIo}.
  void append(std::string_view text);
  // Makes appended lines durable: always, or when the last time is `interval` ago. True when all lines are durable. When
  // that fails the lines since the last good sync are taken out again, and Error{kIo}.
  bool sync();
  bool sync_if_due(std::chrono::milliseconds interval);

 private:
  [[noreturn]] void fail(int error, std::string_view doing) const;
  void cut_to(std::uint64_t size);

  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;  // of complete lines
  std::uint64_t synced_size_ = 0;
  bool dirty_ = false;
  std::chrono::steady_clock::time_point synced_;
};

}  // namespace dodeca::runtime::batch
