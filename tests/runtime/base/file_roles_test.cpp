#include "runtime/base/file_roles.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "runtime/base/error.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;
using dodeca::tests::TempDir;
using dodeca::tests::write_bytes;

namespace {

// The sentence of the refusal; empty: allowed.
std::string refusal(const FileRoles& files) {
  try {
    files.check();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kBadRequest);
    return error.sentence();
  }
  return "";
}

std::string refusal(const std::filesystem::path& read, const std::filesystem::path& written) {
  FileRoles files;
  files.reads(read, "-f");
  files.writes(written, "-o");
  return refusal(files);
}

bool names(const std::string& sentence, std::initializer_list<std::string> words) {
  return std::all_of(words.begin(), words.end(),
                     [&](const std::string& word) { return sentence.find(word) != std::string::npos; });
}

}  // namespace

TEST_CASE("an output that is an input is refused, whatever its path looks like") {
  const TempDir dir;
  write_bytes(dir / "text", "abc");
  write_bytes(dir / "other", "abc");
  std::filesystem::create_directory(dir / "sub");
  std::filesystem::create_symlink(dir / "text", dir / "link");
  std::filesystem::create_symlink("link", dir / "link to a link");
  std::filesystem::create_hard_link(dir / "text", dir / "second name");
  std::filesystem::create_directory_symlink(dir.path(), dir / "sub" / "back");
  for (const auto& path : {dir / "text", dir / "link", dir / "link to a link", dir / "second name",
                           dir / "sub" / ".." / "text", dir / "sub" / "back" / "text"}) {
    CHECK(names(refusal(dir / "text", path), {"-f", "-o", "same file", path.string(), (dir / "text").string()}));
    CHECK(names(refusal(path, dir / "text"), {"same file"}));
  }
  CHECK(refusal(dir / "text", dir / "other").empty());
  CHECK(refusal(dir / "text", dir / "new").empty());
  CHECK(refusal("", dir / "text").empty());
  CHECK(refusal(dir / "text", "").empty());
}

TEST_CASE("files that are not there yet are compared by folder and name, also behind links") {
  const TempDir dir;
  std::filesystem::create_directory(dir / "sub");
  std::filesystem::create_symlink("new", dir / "dangling");
  const auto two = [&](const std::filesystem::path& a, const std::filesystem::path& b) {
    FileRoles files;
    files.writes(a, "-o");
    files.writes(b, "--errors");
    return refusal(files);
  };
  CHECK(names(two(dir / "new", dir / "sub" / ".." / "new"), {"-o", "--errors", "same file"}));
  CHECK(names(two(dir / "new", dir / "dangling"), {"same file"}));
  CHECK(two(dir / "new", dir / "newer").empty());
  CHECK(two(dir / "new", dir / "sub" / "new").empty());
}

TEST_CASE("a reader may be replaced where that is meant, and roles are never in their own way") {
  const TempDir dir;
  write_bytes(dir / "matrix", "abc");
  FileRoles files;
  files.reads(dir / "matrix", "--in-file");
  files.writes(dir / "matrix", "-o");
  CHECK(!refusal(files).empty());
  files.may_replace("-o", "--in-file");
  CHECK(refusal(files).empty());
  files.writes(dir / "matrix", "-o");
  CHECK(refusal(files).empty());
  FileRoles more;
  more.reads(dir / "matrix", "-m");
  files.add(more);
  CHECK(names(refusal(files), {"-o", "-m", "same file"}));
}

TEST_CASE("numbered names") {
  CHECK(is_numbered_name("out-00001-of-00003.gguf", "out", "-#-of-#.gguf"));
  CHECK(is_numbered_name("out.at_10", "out", ".at_#"));
  CHECK(!is_numbered_name("out.at_", "out", ".at_#"));
  CHECK(!is_numbered_name("out.at_1x", "out", ".at_#"));
  CHECK(!is_numbered_name("other.at_1", "out", ".at_#"));
  const TempDir dir;
  for (const char* name : {"out.at_10", "out.at_2", "out.at_x", "out"}) write_bytes(dir / name, "abc");
  CHECK(numbered_files(dir / "out", ".at_#").size() == 2);
  CHECK(numbered_files(dir / "nowhere" / "out", ".at_#").empty());

  const auto clash = [&](const std::filesystem::path& read, FileRoles::Against against) {
    FileRoles files;
    files.writes_numbered(dir / "out", ".at_#", "copies", against);
    files.reads(read, "-f");
    return refusal(files);
  };
  write_bytes(dir / "text", "abc");
  std::filesystem::create_hard_link(dir / "text", dir / "out.at_30");
  CHECK(names(clash(dir / "out.at_10", FileRoles::Against::kAll), {"copies", "-f", "same file"}));
  CHECK(names(clash(dir / "text", FileRoles::Against::kAll), {"same file"}));
  CHECK(names(clash(dir / "out.at_99", FileRoles::Against::kAll), {"same file"}));
  CHECK(clash(dir / "out.at_x", FileRoles::Against::kAll).empty());
  CHECK(clash(dir / "out.at_10", FileRoles::Against::kOutputs).empty());
  FileRoles outputs;
  outputs.writes(dir / "out.at_10", "-o");
  outputs.writes_numbered(dir / "out", ".at_#", "copies", FileRoles::Against::kOutputs);
  CHECK(names(refusal(outputs), {"copies", "-o", "same file"}));
}

TEST_CASE("standard input and output count where they are files") {
  const TempDir dir;
  write_bytes(dir / "in", "abc");
  write_bytes(dir / "log", "");
  const int old_in = ::dup(STDIN_FILENO), old_err = ::dup(STDERR_FILENO);
  const int in = ::open((dir / "in").c_str(), O_RDONLY), log = ::open((dir / "log").c_str(), O_WRONLY);
  ::dup2(in, STDIN_FILENO);
  ::dup2(log, STDERR_FILENO);
  const std::string input = refusal("-", dir / "in");
  FileRoles files;
  files.writes(dir / "log", "--errors");
  files.reads(dir / "log", "-f");
  files.may_replace("--errors", "-f");
  CHECK(refusal(files).empty());
  files.writes_standard_streams();
  const std::string messages = refusal(files);
  ::dup2(old_in, STDIN_FILENO);
  ::dup2(old_err, STDERR_FILENO);
  for (const int fd : {old_in, old_err, in, log}) ::close(fd);
  CHECK(names(input, {"-f", "-o", "same file"}));
  CHECK(names(messages, {"standard output or error", "--errors", "same file"}));
}
