#include "runtime/base/output_file.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "runtime/base/error.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using dodeca::tests::read_bytes;
using dodeca::tests::TempDir;
using dodeca::tests::write_bytes;

TEST_CASE("the target appears only when finished, whole") {
  const TempDir dir;
  write_bytes(dir / "out", "old");
  const std::string big(3 << 20, 'x');
  {
    OutputFile out(dir / "out", big.size() + 3);
    out.append("abc", 3);
    out.append(big.data(), big.size());
    CHECK(out.written() == big.size() + 3);
    CHECK(read_bytes(dir / "out") == "old");
    out.finish();
  }
  CHECK(read_bytes(dir / "out") == "abc" + big);
  CHECK(dir.n_entries() == 1);
}

TEST_CASE("an unfinished file leaves the old one and no temporary one") {
  const TempDir dir;
  write_bytes(dir / "out", "old");
  {
    OutputFile out(dir / "out");
    out.append("half", 4);
    CHECK(dir.n_entries() == 2);
  }
  CHECK(read_bytes(dir / "out") == "old");
  CHECK(dir.n_entries() == 1);
}

TEST_CASE("too little space is refused before anything is written, with need and have") {
  const TempDir dir;
  try {
    OutputFile out(dir / "out", std::uint64_t{1} << 60);
    FAIL("2^60 bytes fitted");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kDoesNotFit);
    CHECK(error.sentence().find("1152921504606846976") != std::string::npos);
    CHECK(error.sentence().find("free") != std::string::npos);
  }
  CHECK(dir.n_entries() == 0);
}

TEST_CASE("a size limit of the process is told like a full disk") {
  const TempDir dir;
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    int code = 1;
    try {
      OutputFile out(dir / "out", 4096);
    } catch (const Error& error) {
      code = error.kind() == ErrorKind::kDoesNotFit ? 0 : 2;
    }
    ::_exit(code);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("places that cannot be written are told with their reason") {
  const TempDir dir;
  CHECK_THROWS_AS(OutputFile(dir / "no" / "such" / "folder"), Error);
  CHECK_THROWS_AS(OutputFile(dir.path()), Error);
  CHECK_THROWS_AS(OutputFile("/dev/null"), Error);  // a rename would replace the device
}

TEST_CASE("through a symbolic link the file behind it is replaced") {
  const TempDir dir;
  write_bytes(dir / "real", "old");
  std::filesystem::create_symlink(dir / "real", dir / "link");
  OutputFile out(dir / "link");
  out.append("new", 3);
  out.finish();
  CHECK(read_bytes(dir / "real") == "new");
  CHECK(std::filesystem::is_symlink(dir / "link"));
}

TEST_CASE("a file that is continued is refused for want of space with what is there counted, and stays") {
  const TempDir dir;
  write_bytes(dir / "out.partial", std::string(1 << 20, 'x'));
  try {
    OutputFile out(dir / "out", std::uint64_t{1} << 60, OutputFile::Continued{1 << 20});
    FAIL("2^60 bytes fitted");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kDoesNotFit);
    CHECK(error.sentence().find("1152921504605798400") != std::string::npos);  // 2^60 - 2^20
  }
  CHECK(read_bytes(dir / "out.partial").size() == 1 << 20);
  CHECK_THROWS_AS(OutputFile(dir / "new", std::uint64_t{1} << 60, OutputFile::Continued{0}), Error);
  CHECK(dir.n_entries() == 1);
}

TEST_CASE("a file that is continued has all that is to be kept, or is refused") {
  const TempDir dir;
  write_bytes(dir / "out.partial", "abc");
  CHECK_THROWS_AS(OutputFile(dir / "out", 0, OutputFile::Continued{4}), Error);
  CHECK(read_bytes(dir / "out.partial") == "abc");
  OutputFile out(dir / "out", 0, OutputFile::Continued{2});
  out.append("d", 1);
  out.finish();
  CHECK(read_bytes(dir / "out") == "abd");
  CHECK(dir.n_entries() == 1);
}

TEST_CASE("of many who give a new file its name at the same time one succeeds, and nobody sees half a file") {
  const TempDir dir;
  constexpr int kProcesses = 8;
  const std::string padding(5000, '.');
  for (int round = 0; round < 10; ++round) {
    const auto name = dir / ("new" + std::to_string(round));
    for (int process = 0; process < kProcesses; ++process) {
      if (::fork() != 0) continue;
      OutputFile out(name);
      const std::string text = std::to_string(process) + padding;
      out.append(text.data(), text.size());
      const bool made = out.finish_new();
      const std::string there = read_bytes(name);
      ::_exit(there.size() != text.size() || (made && there != text) ? 2 : made ? 1 : 0);
    }
    int made = 0;
    for (int process = 0; process < kProcesses; ++process) {
      int status = 0;
      REQUIRE(::wait(&status) > 0);
      REQUIRE(WIFEXITED(status));
      REQUIRE(WEXITSTATUS(status) < 2);
      made += WEXITSTATUS(status);
    }
    CHECK(made == 1);
    CHECK(dir.n_entries() == round + 1);
  }
}

TEST_CASE("a name that is taken stays, one that was taken by the same file counts, and a folder that is gone is told") {
  const TempDir dir;
  write_bytes(dir / "file", "mine");
  write_bytes(dir / "taken", "theirs");
  CHECK_FALSE(add_name(dir / "file", dir / "taken"));
  CHECK(read_bytes(dir / "taken") == "theirs");
  CHECK(add_name(dir / "file", dir / "name"));
  CHECK(add_name(dir / "file", dir / "name"));  // as after a lost answer of a file server
  CHECK_THROWS_WITH_AS(add_name(dir / "file", dir / "gone" / "name"), doctest::Contains("cannot create"), Error);
  CHECK_THROWS_WITH_AS(add_name(dir / "none", dir / "other"), doctest::Contains("cannot create"), Error);
}
