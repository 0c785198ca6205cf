#include "runtime/cli/remedies.hpp"

#include <doctest/doctest.h>

#include <string>

namespace dodeca::runtime::cli {

TEST_CASE("every remedy that a library names becomes a flag of the program") {
  for (int i = 1; i < static_cast<int>(Remedy::kCount); ++i) {
    for (const char* command : {"dodeca run", "dodeca-bench"}) {
      const std::string_view text = remedy_text(static_cast<Remedy>(i), command);
      CHECK_MESSAGE(text.find('-') != std::string_view::npos, i);
    }
  }
  CHECK(remedy_text(Remedy::kNone, "dodeca run").empty());
  CHECK(remedy_text(Remedy::kSmallerCache, "dodeca run").find("-c") != std::string_view::npos);
  CHECK(remedy_text(Remedy::kSmallerCache, "dodeca-bench").find("-d") != std::string_view::npos);
}

TEST_CASE("the remedy stands behind the sentence and its context") {
  const Error error =
      Error(ErrorKind::kBadRequest, "the state is of another run").with(Remedy::kBeginAnew).with("file", "x");
  CHECK(error.remedy() == Remedy::kBeginAnew);
  CHECK(std::string(error.what()).find("--") == std::string::npos);
  CHECK(error_text(error, "dodeca batch") ==
        "bad request: the state is of another run [file=x]; --restart begins anew and discards what is there");
  CHECK(error_text(Error(ErrorKind::kIo, "no"), "dodeca run") == "i/o error: no");
}

}  // namespace dodeca::runtime::cli
