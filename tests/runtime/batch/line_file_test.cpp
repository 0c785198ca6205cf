#include "runtime/batch/line_file.hpp"

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <errno.h>

#include <algorithm>
#include <set>
#include <string>

#include "tests/runtime/batch/batch_fixture.hpp"

namespace {

int failing_syncs = 0;  // the next ones

}  // namespace

// Stands before the C library's, in this program alone.
extern "C" int fdatasync(int fd) {
  if (failing_syncs > 0) {
    --failing_syncs;
    errno = EIO;
    return -1;
  }
  static const auto real = reinterpret_cast<int (*)(int)>(::dlsym(RTLD_NEXT, "fdatasync"));
  return real(fd);
}

namespace {

using namespace dodeca::runtime;
using namespace dodeca::runtime::batch;
using namespace dodeca::tests;

bool any_line(std::string_view, std::int64_t) { return true; }

TEST_CASE("a sync that fails takes the lines since the last good one out again") {
  const Folder folder;
  LineFile file(folder.path / "lines");
  file.append("one\n");
  CHECK(file.sync());
  CHECK(file.synced_size() == 4);
  file.append("two\n");
  file.append("three\n");
  failing_syncs = 1;
  CHECK_THROWS_AS(file.sync(), Error);
  CHECK(file.size() == 4);
  CHECK(read_text(folder.path / "lines") == "one\n");
  file.append("two\n");
  CHECK(file.sync());
  CHECK(read_text(folder.path / "lines") == "one\ntwo\n");
}

TEST_CASE("what is found is synced before it counts; where that fails only what was said to be safe stays") {
  const Folder folder;
  write_text(folder.path / "lines", "one\ntwo\nthree\n");
  for (const std::uint64_t safe : {UINT64_MAX, std::uint64_t{8}, std::uint64_t{0}}) {
    LineFile file(folder.path / "lines");
    file.trust(safe);
    failing_syncs = 1;
    CHECK_THROWS_AS(file.recover(any_line), Error);
    CHECK(failing_syncs == 0);
    CHECK(read_text(folder.path / "lines") ==
          std::string("one\ntwo\nthree\n").substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(safe, 14))));
  }
}

TEST_CASE("a results file that an earlier run wrote is synced before its lines count as done") {
  BatchSetup setup;
  write_text(setup.options.input, mixed_input(10));
  CHECK(setup.run().done() == 10);
  const std::string results = read_text(setup.options.output);
  failing_syncs = 1;
  CHECK(setup.refusal().find("cannot sync") != std::string::npos);
  // Those of a run that ended well are safe whatever a later sync says.
  CHECK(read_text(setup.options.output) == results);
  // Those of a run that was killed are not.
  Json state = Json::parse(read_text(setup.state()));
  const std::size_t first = results.find('\n') + 1;
  state["synced_results"] = first;
  write_text(setup.state(), state.dump());
  failing_syncs = 1;
  CHECK(setup.refusal().find("cannot sync") != std::string::npos);
  CHECK(read_text(setup.options.output) == results.substr(0, first));
  const auto expected = lines_of(results);
  CHECK(setup.run().done() == 10);
  CHECK(line_set(setup.options.output) == std::set<std::string>(expected.begin(), expected.end()));
}

TEST_CASE("a file of the program's own is not opened through a link, one that the user named is") {
  const Folder folder;
  write_text(folder.path / "victim", "precious\n");
  std::filesystem::create_symlink(folder.path / "victim", folder.path / "link");
  CHECK_THROWS_AS(LineFile(folder.path / "link", LineFile::Kind::kOwn), Error);
  CHECK_NOTHROW(LineFile(folder.path / "link"));
  CHECK(read_text(folder.path / "victim") == "precious\n");
}

TEST_CASE("links planted as the state or the errors of a batch are refused before anything is written") {
  BatchSetup setup;
  write_text(setup.options.input, mixed_input(4));
  const std::filesystem::path victim = setup.folder.path / "victim";
  write_text(victim, "");
  for (const std::filesystem::path& planted : {setup.state(), setup.options.errors}) {
    std::filesystem::create_symlink(victim, planted);
    CHECK(setup.refusal().find("symbolic link") != std::string::npos);
    CHECK(read_text(victim).empty());
    std::filesystem::remove(planted);
  }
  CHECK(setup.run().done() == 4);
}

TEST_CASE("a batch refuses to write over what it reads and over its own files") {
  BatchSetup setup;
  write_text(setup.options.input, mixed_input(4));
  const auto refused = [&](auto change) {
    const BatchOptions before = setup.options;
    change(setup.options);
    const std::string sentence = setup.refusal();
    setup.options = before;
    CHECK(read_text(setup.options.input) == mixed_input(4));
    return sentence.find("same file") != std::string::npos;
  };
  CHECK(refused([](BatchOptions& o) { o.output = o.input; }));
  CHECK(refused([](BatchOptions& o) { o.errors = o.input; }));
  CHECK(refused([](BatchOptions& o) { o.errors = o.output; }));
  CHECK(refused([](BatchOptions& o) { o.errors = o.output.string() + ".state"; }));
  CHECK(refused([](BatchOptions& o) {
    std::filesystem::copy(o.input, o.output.string() + ".state");
    o.input = o.output.string() + ".state";
  }));
  std::filesystem::remove(setup.state());
  CHECK(refused([](BatchOptions& o) {
    std::filesystem::copy(o.input, o.output.string() + ".state.12.0.tmp");
    o.input = o.output.string() + ".state.12.0.tmp";
  }));
}

}  // namespace
