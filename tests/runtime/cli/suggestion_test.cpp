#include "runtime/cli/suggestion.hpp"

#include <doctest/doctest.h>

namespace {

using dodeca::runtime::cli::nearest_name;

TEST_CASE("a slip is named, a far name is not") {
  const std::vector<std::string> known = {"--temp", "-ctk", "--ctx-size", "--threads", "--threads-batch", "-c", "-n"};
  CHECK(nearest_name("--tmp", known) == "--temp");
  CHECK(nearest_name("--thraeds", known) == "--threads");
  CHECK(nearest_name("--ctk", known) == "-ctk");
  CHECK(nearest_name("--ctx", known) == "--ctx-size");
  CHECK(nearest_name("--thr", known).empty());  // the beginning of two
  CHECK(nearest_name("-x", known).empty());
  CHECK(nearest_name("--frobnicate", known).empty());
  CHECK(nearest_name("--jinja", known).empty());
}

}  // namespace
