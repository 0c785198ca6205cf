#include "runtime/plan/partition.hpp"

#include <doctest/doctest.h>

namespace {

using namespace dodeca::runtime;

TEST_CASE("a cut covers everything once, in whole units") {
  for (const std::int64_t count : {1, 15, 256, 1408, 2048, 2049}) {
    for (const std::int64_t unit : {1, 16, 32, 256}) {
      for (int parts = 1; parts <= 8; ++parts) {
        std::int64_t next = 0;
        for (int i = 0; i < parts; ++i) {
          const Span s = cut(count, unit, i, parts);
          CHECK(s.begin == next);
          CHECK((s.begin % unit == 0 || s.begin == count));
          next = s.end;
        }
        CHECK(next == count);
      }
    }
  }
}

TEST_CASE("the intermediate dimension is cut in blocks of the down projection, else experts are dealt") {
  CHECK(cut_ffn(2048, 256, 4).columns[1].begin == 512);
  const FfnCut lite = cut_ffn(1408, 32, 2);  // DeepSeek-V2-Lite: 44 blocks of 32
  CHECK_FALSE(lite.deal_experts);
  CHECK(lite.columns[0].size() == 704);
  const FfnCut few = cut_ffn(256, 256, 3);
  CHECK(few.deal_experts);
  CHECK(few.columns[2].size() == 256);
  CHECK_FALSE(cut_ffn(100, 256, 1).deal_experts);
}

}  // namespace
