#include "runtime/plan/partition.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace {

using namespace dodeca::runtime;

TEST_CASE("a cut covers everything once, in whole units") {
  for (const std::int64_t count : {1, 15, 256, 1408, 2048, 2049}) {
    for (const std::int64_t unit : {1, 16, 32, 256}) {
      for (int parts = 1; parts <= 8; ++parts) {
        std::int64_t next = 0;
        for (const Span& s : cut(count, unit, equal_shares(parts))) {
          CHECK(s.begin == next);
          CHECK((s.begin % unit == 0 || s.begin == count));
          next = s.end;
        }
        CHECK(next == count);
      }
    }
  }
}

TEST_CASE("shares need not be equal") {
  const std::vector<Span> spans = cut(2048, 256, {3.0, 1.0});
  CHECK(spans[0] == Span{0, 1536});
  CHECK(spans[1] == Span{1536, 2048});
  CHECK(cut(256, 256, {1.0, 2.0, 1.0})[1] == Span{0, 256});  // to whom most of it belongs
  const std::vector<int> part = deal(12, {2.0, 1.0});
  CHECK(std::count(part.begin(), part.end(), 0) == 8);
  CHECK(deal(5, equal_shares(2)) == std::vector<int>{0, 1, 0, 1, 0});
}

TEST_CASE("the intermediate dimension is cut in blocks of the down projection, else experts are dealt") {
  CHECK(cut_ffn(2048, 256, 256, equal_shares(4)).columns[1].begin == 512);
  const FfnCut lite = cut_ffn(1408, 32, 64, equal_shares(2));  // DeepSeek-V2-Lite: 44 blocks of 32
  CHECK(lite.expert_part.empty());
  CHECK(lite.columns[0].size() == 704);
  const FfnCut few = cut_ffn(256, 256, 6, equal_shares(3));
  CHECK(few.expert_part == std::vector<int>{0, 1, 2, 0, 1, 2});
  CHECK(few.columns[2].size() == 256);
  CHECK(cut_ffn(100, 256, 6, equal_shares(1)).expert_part.empty());
}

}  // namespace
