#include "runtime/load/write_log.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <span>
#include <string>
#include <vector>

#include "runtime/base/error.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using namespace dodeca::tests;

TEST_CASE("what a log vouches for is there at every moment of going on") {
  const TempDir dir;
  const std::vector<WrittenTensor> entries = {{100, 1}, {200, 2}, {300, 3}};
  const auto begin = [&](std::string_view identity, std::span<const WrittenTensor> standing) {
    WriteLog log(dir / "log");
    log.begin(identity, standing);
  };
  begin("work", entries);
  const std::string whole = read_bytes(dir / "log");
  // Where not one byte can be written: a full disk, or killed before the first.
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{0, 0};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      begin("work", entries);
    } catch (const Error&) {
    }
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(read_bytes(dir / "log") == whole);
  // A torn end and entries that do not stand are cut, and what comes next follows.
  write_bytes(dir / "log", whole + "3 400 00000");
  {
    WriteLog log(dir / "log");
    log.begin("work", std::span(entries).first(2));
    CHECK(read_write_log(dir / "log")->tensors.size() == 2);
    log.add(std::span(entries).last(1));
  }
  CHECK(read_bytes(dir / "log") == whole);
  CHECK(read_write_log(dir / "log")->identity == "work");
  begin("other work", {});
  CHECK(read_write_log(dir / "log")->identity == "other work");
  CHECK(read_write_log(dir / "log")->tensors.empty());
  write_bytes(dir / "log", "");
  CHECK_FALSE(read_write_log(dir / "log"));
  begin("work", {});
  {
    const WriteLog log(dir / "log");
    CHECK_THROWS_WITH_AS(WriteLog(dir / "log"), doctest::Contains("another process"), Error);
  }
  CHECK(std::filesystem::exists(dir / "log"));
  { const WriteLog unused(dir / "new"); }
  CHECK_FALSE(std::filesystem::exists(dir / "new"));
}

TEST_CASE("a log keeps what tensors were made from; one of another version is of another work") {
  const TempDir dir;
  {
    WriteLog log(dir / "log");
    log.begin("work", {});
    log.add(std::vector<WrittenTensor>{{100, 1, 0xabc}});
  }
  REQUIRE(read_write_log(dir / "log")->tensors.size() == 1);
  CHECK(read_write_log(dir / "log")->tensors[0].source == 0xabc);
  write_bytes(dir / "log", "dodeca-partial 1 work\n0 100 0000000000000001\n");
  CHECK(read_write_log(dir / "log")->identity != "work");
  CHECK(read_write_log(dir / "log")->tensors.size() == 1);
}
