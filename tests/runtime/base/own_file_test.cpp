#include "runtime/base/own_file.hpp"

#include <doctest/doctest.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "runtime/base/error.hpp"
#include "runtime/base/file_error.hpp"
#include "runtime/base/output_file.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using dodeca::tests::read_bytes;
using dodeca::tests::TempDir;
using dodeca::tests::write_bytes;

namespace {

std::string refusal(const std::filesystem::path& path) {
  try {
    ::close(open_own_file(path, O_RDWR));
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kIo);
    return error.sentence();
  }
  return "";
}

}  // namespace

TEST_CASE("files of the program's own are made and opened, and nothing that was planted under their name") {
  const TempDir dir;
  write_bytes(dir / "victim", "precious");
  CHECK(refusal(dir / "new").empty());
  CHECK(std::filesystem::exists(dir / "new"));
  CHECK(refusal(dir / "new").empty());
  std::filesystem::create_symlink(dir / "victim", dir / "link");
  std::filesystem::create_symlink(dir / "nothing", dir / "dangling");
  std::filesystem::create_hard_link(dir / "victim", dir / "second name");
  REQUIRE(::mkfifo((dir / "fifo").c_str(), 0600) == 0);
  CHECK(refusal(dir / "link").find("symbolic link") != std::string::npos);
  CHECK(refusal(dir / "dangling").find("symbolic link") != std::string::npos);
  CHECK(!std::filesystem::exists(dir / "nothing"));
  CHECK(refusal(dir / "second name").find("other names") != std::string::npos);
  CHECK(refusal(dir / "fifo").find("not a regular file") != std::string::npos);
  CHECK(!refusal(dir.path()).empty());
  CHECK(read_bytes(dir / "victim") == "precious");
  CHECK_NOTHROW(check_own_file(dir / "absent"));
  CHECK_NOTHROW(check_own_file(dir / "new"));
  for (const char* name : {"link", "dangling", "second name", "fifo"})
    CHECK_THROWS_AS(check_own_file(dir / name), Error);
}

TEST_CASE("an unfinished file is not written through a planted link") {
  const TempDir dir;
  write_bytes(dir / "victim", "precious");
  std::filesystem::create_symlink(dir / "victim", dir / "out.partial");
  CHECK_THROWS_AS(OutputFile(dir / "out", 0, OutputFile::Continued{0}), Error);
  CHECK(read_bytes(dir / "victim") == "precious");
  CHECK(!std::filesystem::exists(dir / "out"));
}

TEST_CASE("a link under a name that the program made is replaced itself") {
  const TempDir dir;
  write_bytes(dir / "victim", "precious");
  std::filesystem::create_symlink(dir / "victim", dir / "out");
  OutputFile out(dir / "out", 3, OutputFile::Links::kReplace);
  out.append("new", 3);
  out.finish();
  CHECK(read_bytes(dir / "victim") == "precious");
  CHECK(!std::filesystem::is_symlink(dir / "out"));
  CHECK(read_bytes(dir / "out") == "new");
}

TEST_CASE("a link to nothing is written through where the user gave it") {
  const TempDir dir;
  std::filesystem::create_symlink("real", dir / "out");
  OutputFile out(dir / "out");
  out.append("new", 3);
  out.finish();
  CHECK(std::filesystem::is_symlink(dir / "out"));
  CHECK(read_bytes(dir / "real") == "new");
}

TEST_CASE("a full disk is told with the bytes that are needed, or without where none are known") {
  const Error known = file_error(ENOSPC, "write", "/tmp/x.state", 77);
  CHECK(known.kind() == ErrorKind::kDoesNotFit);
  CHECK(known.sentence().find("77 bytes more") != std::string::npos);
  const Error unknown = file_error(ENOSPC, "sync", "/tmp/x.state");
  CHECK(unknown.sentence().find(" 0 bytes") == std::string::npos);
  CHECK(unknown.sentence().find("not all of it") != std::string::npos);
  CHECK(file_error(EMFILE, "open", "x").sentence().find("ulimit -n") != std::string::npos);
  CHECK(file_error(EACCES, "open", "x").kind() == ErrorKind::kIo);
}
