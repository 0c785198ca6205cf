#include "runtime/base/file.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "runtime/base/error.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using dodeca::tests::TempDir;
using dodeca::tests::write_bytes;

namespace {

std::string read_text(const InputFile& file, std::uint64_t offset, std::size_t n) {
  std::string text(n, '?');
  file.read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

ErrorKind open_fails(const std::filesystem::path& path) {
  try {
    const InputFile file(path);
  } catch (const Error& error) {
    return error.kind();
  }
  FAIL("opened " << path.string());
  return ErrorKind::kBadRequest;
}

// How many pages of a file are in the page cache.
std::size_t cached_pages(const std::filesystem::path& path, std::size_t bytes, std::size_t from = 0) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  std::vector<unsigned char> in_cache((bytes + 4095) / 4096);
  const bool known = mapped != MAP_FAILED && ::mincore(mapped, bytes, in_cache.data()) == 0;
  if (mapped != MAP_FAILED) ::munmap(mapped, bytes);
  ::close(fd);
  REQUIRE(known);
  return static_cast<std::size_t>(std::count_if(in_cache.begin() + static_cast<std::ptrdiff_t>(from / 4096),
                                                in_cache.end(), [](unsigned char page) { return (page & 1) != 0; }));
}

}  // namespace

TEST_CASE("a file is read at any place inside it and nowhere else") {
  const TempDir dir;
  write_bytes(dir / "f", "0123456789");
  const InputFile file(dir / "f");
  CHECK(file.size() == 10);
  CHECK(read_text(file, 0, 10) == "0123456789");
  CHECK(read_text(file, 7, 3) == "789");
  CHECK(read_text(file, 10, 0).empty());
  CHECK_THROWS_AS(read_text(file, 7, 4), Error);
  CHECK_THROWS_AS(read_text(file, 11, 0), Error);
  CHECK_THROWS_AS(read_text(file, UINT64_MAX, 2), Error);
}

TEST_CASE("what is no regular file is refused at once, a FIFO without writer included") {
  const TempDir dir;
  CHECK(open_fails(dir / "absent") == ErrorKind::kIo);
  CHECK(open_fails(dir.path()) == ErrorKind::kIo);
  CHECK(open_fails("/dev/null") == ErrorKind::kIo);
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  CHECK(open_fails(dir / "fifo") == ErrorKind::kIo);
}

TEST_CASE("a file that shrinks while open is an error, not old bytes") {
  const TempDir dir;
  write_bytes(dir / "f", "0123456789");
  const InputFile file(dir / "f");
  REQUIRE(::truncate((dir / "f").c_str(), 4) == 0);
  CHECK_THROWS_AS(read_text(file, 2, 8), Error);
}

TEST_CASE("a moved file keeps reading") {
  const TempDir dir;
  write_bytes(dir / "f", "abc");
  write_bytes(dir / "g", "xyz");
  InputFile file(dir / "f");
  InputFile other(std::move(file));
  CHECK(read_text(other, 0, 3) == "abc");
  InputFile third(dir / "g");
  third = std::move(other);
  CHECK(read_text(third, 0, 3) == "abc");
}

TEST_CASE("a Git-LFS pointer is named as what it is") {
  const TempDir dir;
  write_bytes(dir / "model.safetensors",
              "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4302350824\n");
  CHECK_THROWS_WITH_AS(InputFile(dir / "model.safetensors"), doctest::Contains("Git-LFS pointer"), Error);
  CHECK_THROWS_WITH_AS(InputFile(dir / "model.safetensors"), doctest::Contains("4302350824 bytes"), Error);
  write_bytes(dir / "text", "version https://example.com\n");
  CHECK_NOTHROW(InputFile(dir / "text"));
}

TEST_CASE("more files than descriptors can be open") {
  const TempDir dir;
  for (int i = 0; i < 80; ++i) write_bytes(dir / std::to_string(i), std::to_string(i));
  // The limits are of a process of its own. Hard limits: one that allows all, one that does not.
  for (const rlim_t hard : {rlim_t{256}, rlim_t{48}}) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      const rlimit limit{32, hard};
      bool right = ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
      try {
        std::vector<InputFile> files;
        for (int i = 0; i < 80; ++i) files.emplace_back(dir / std::to_string(i));
        for (int i = 0; i < 80; ++i) {
          const InputFile& file = files[static_cast<std::size_t>(i)];
          right = right && read_text(file, 0, file.size()) == std::to_string(i);
        }
        right = right && ::open("/dev/null", O_RDONLY) >= 0;  // there are descriptors for others
        write_bytes(dir / "other", "79");
        std::filesystem::rename(dir / "other", dir / "79");
        try {
          read_text(files[79], 0, 2);
          right = right && hard == 256;  // the file that was opened is there still
        } catch (const Error&) {
          right = right && hard == 48;
        }
      } catch (const Error&) {
        right = false;
      }
      ::_exit(right ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
}

TEST_CASE(
    "a file that is to drop behind leaves the page cache as it is read, and one to read ahead comes before it is") {
  constexpr std::size_t kBytes = std::size_t{24} << 20, kPiece = 100'000;
  constexpr long kTmpfs = 0x01021994;
  // Beside the program: temporary folders may be in memory, whose files are nowhere else.
  const TempDir folder(std::filesystem::read_symlink("/proc/self/exe").parent_path());
  const std::filesystem::path path = folder / "model.bin";
  std::string content(kBytes, '\0');
  for (std::size_t i = 0; i < kBytes; ++i) content[i] = static_cast<char>(i * 7 + i / 4096);
  write_bytes(path, content);
  struct statfs system {};
  REQUIRE(::statfs(path.c_str(), &system) == 0);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(::fsync(fd) == 0);
  const auto read_all = [&](const InputFile& file) {
    std::string text;
    for (std::size_t at = 0; at < kBytes; at += kPiece) text += read_text(file, at, std::min(kPiece, kBytes - at));
    CHECK(text == content);
  };
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  if (system.f_type == kTmpfs || cached_pages(path, kBytes) > 0) {
    MESSAGE("skipped: this file system does not let its pages go");
  } else {
    const InputFile kept(path);
    read_all(kept);
    CHECK(cached_pages(path, kBytes) == kBytes / 4096);
    const InputFile dropped(path);
    dropped.drop_behind(std::size_t{4} << 20);
    read_all(dropped);
    CHECK(cached_pages(path, kBytes) <= (6 << 20) / 4096);
    dropped.drop_all();
    CHECK(cached_pages(path, kBytes) == 0);

    constexpr std::size_t kRead = std::size_t{1} << 20, kAhead = std::size_t{16} << 20;
    const auto pages_ahead_of = [&](const InputFile& file) {
      ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
      read_text(file, 0, kRead);
      std::size_t pages = 0;
      for (int i = 0; i < 50 && pages < kRead / 4096; ++i) {  // they come while the reader goes on
        std::this_thread::sleep_for(std::chrono::milliseconds(i));
        pages = cached_pages(path, kBytes, kAhead);
      }
      return pages;
    };
    const InputFile plain(path), ahead(path);
    ahead.read_ahead(kAhead);
    CHECK(pages_ahead_of(ahead) >= kRead / 4096);
    CHECK(pages_ahead_of(plain) == 0);
  }
  ::close(fd);
}
