#include "bench/test_matrix.hpp"

#include <doctest/doctest.h>

#include "runtime/cli/options.hpp"

using namespace dodeca::bench;
using dodeca::runtime::cli::Usage;

TEST_CASE("ranges are lists, steps and multiples") {
  using List = std::vector<std::int64_t>;
  CHECK(parse_range("-p", "512", 0, 1000) == List{512});
  CHECK(parse_range("-p", "1,2,4", 0, 1000) == List{1, 2, 4});
  CHECK(parse_range("-p", "1-4", 0, 1000) == List{1, 2, 3, 4});
  CHECK(parse_range("-p", "10-20+5", 0, 1000) == List{10, 15, 20});
  CHECK(parse_range("-p", "1-9*2", 0, 1000) == List{1, 2, 4, 8});
  CHECK(parse_range("-p", "0,2-6+2,9", 0, 1000) == List{0, 2, 4, 6, 9});
  for (const char* text : {"", ",", "1,", "a", "1-", "-5", "4-2", "1-4+0", "1-4*1", "0-4*2", "1-4+2x", "2000"})
    CHECK_THROWS_AS(parse_range("-p", text, 0, 1000), Usage);
}

TEST_CASE("every combination is a test, prompts before generations before pairs") {
  Axes axes;
  axes.models = {"a", "b"};
  axes.n_prompt = {512, 0};
  axes.n_gen = {128};
  axes.n_pg = {{64, 8}};
  axes.n_depth = {0, 100};
  axes.n_threads = {1, 2};
  const std::vector<Test> tests = all_tests(axes);
  REQUIRE(tests.size() == 2 * 2 * 2 * 3);
  CHECK(tests[0].label() == "pp512");
  CHECK(tests[1].label() == "tg128");
  CHECK(tests[2].label() == "pp64+tg8");
  CHECK(tests[3].label() == "pp512 @ d100");
  CHECK(tests[0].n_threads == 1);
  CHECK(tests[6].n_threads == 2);
  CHECK(tests[11].model == "a");
  CHECK(tests[12].model == "b");
}

TEST_CASE("options without effect are combined like the others") {
  Axes axes;
  axes.models = {"a"};
  axes.n_threads = {1};
  axes.n_gen = {0};
  axes.inert[kFlashAttention] = {"0", "1"};
  const std::vector<Test> tests = all_tests(axes);
  REQUIRE(tests.size() == 2);
  CHECK(tests[0].inert[kFlashAttention] == "0");
  CHECK(tests[1].inert[kFlashAttention] == "1");
  CHECK(tests[1].inert[kGpuLayers] == "-1");
}

TEST_CASE("what options without effect say is what every command says") {
  for (const InertAxis& axis : kInertAxes) CHECK_MESSAGE(!inert_answer(axis).empty(), axis.flags);
  CHECK(inert_answer(kInertAxes[kMainGpu]) == inert_answer(kInertAxes[kSplitMode]));
}

TEST_CASE("numbers of sequences apply to generation only") {
  Axes axes;
  axes.models = {"a"};
  axes.n_threads = {1};
  axes.n_gen = {16, 32};
  axes.n_pg = {{8, 4}};
  axes.n_parallel = {1, 8};
  const std::vector<Test> tests = all_tests(axes);
  REQUIRE(tests.size() == 1 + 4 + 1);
  CHECK(tests[1].label() == "tg16");
  CHECK(tests[2].label() == "tg16 x8");
  CHECK(tests[2].n_tokens() == 128);
  CHECK(tests[0].n_tokens() == 512);
  CHECK(tests[5].label() == "pp8+tg4");
  CHECK(tests[5].n_tokens() == 12);
}
