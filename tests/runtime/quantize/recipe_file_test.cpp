#include "runtime/quantize/recipe_file.hpp"

#include <doctest/doctest.h>

#include <random>

#include "runtime/base/error.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::runtime::quantize;
using quant::DType;

TEST_CASE("a recipe file: names before rules, rules in order, then the default; written and read back") {
  const FileRecipe recipe = parse_recipe(
      R"({"recipe":"mine","default":"q4_k","tensors":{"blk.0.ffn_down_exps.weight":"Q6_K"},
          "rules":[{"match":"_exps","type":"Q2_K"},{"match":"down","type":"Q5_K"}]})",
      "text");
  tests::TempDir dir;
  write_recipe(recipe, dir / "recipe.json");
  for (const FileRecipe& r : {recipe, read_recipe(dir / "recipe.json")}) {
    CHECK(r.name == "mine");
    CHECK(r.type_of("blk.0.ffn_down_exps.weight") == DType::kQ6_K);
    CHECK(r.type_of("blk.1.ffn_down_exps.weight") == DType::kQ2_K);
    CHECK(r.type_of("blk.1.ffn_down.weight") == DType::kQ5_K);
    CHECK(r.type_of("output.weight") == DType::kQ4_K);
  }
}

TEST_CASE("a recipe file: what is wrong is named") {
  const struct {
    const char *text, *message;
  } cases[] = {
      {"[]", "it is no JSON object"},
      {"{", "text"},
      {R"({"tensors":{}})", "\"default\""},
      {R"({"default":7})", "\"default\" is no string"},
      {R"({"default":"Q9_K"})", "no type is called 'Q9_K'"},
      {R"({"default":"Q8_K"})", "Q8_K cannot be written"},
      {R"({"default":"Q4_K","tensors":[]})", "\"tensors\" is no object"},
      {R"({"default":"Q4_K","tensors":{"a":"B"}})", "as \"a\" says"},
      {R"({"default":"Q4_K","tensors":{"a":"Q4_K","a":"Q5_K"}})", "twice"},
      {R"({"default":"Q4_K","rules":{}})", "\"rules\" is no array"},
      {R"({"default":"Q4_K","rules":[{"match":"a"}]})", "a rule is not"},
      {R"({"default":"Q4_K","rules":[{"match":"(","type":"Q4_K"}]})", "is no regular expression"},
      {R"({"default":"Q4_K","rules":[{"match":"","type":"Q4_K"}]})", "nothing"},
      {R"({"default":"Q4_K","tensor":{}})", "the unknown key \"tensor\""},
  };
  for (const auto& c : cases) {
    CAPTURE(c.text);
    CHECK_THROWS_WITH_AS(parse_recipe(c.text, "text"), doctest::Contains(c.message), Error);
  }
}

TEST_CASE("a recipe file: damaged in any place it is read or refused") {
  const std::string whole =
      R"({"recipe":"r","default":"Q4_K","tensors":{"a.weight":"Q6_K"},"rules":[{"match":"_exps","type":"Q2_K"}]})";
  std::mt19937 random(3);
  int read = 0, refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string text = whole;
    for (unsigned n = random() % 3 + 1; n > 0; --n) {
      const std::size_t at = random() % text.size();
      if (random() % 3 == 0)
        text.erase(at, random() % 8);
      else
        text[at] = "{}[]\":,\\QK_()*+?0\xff"[random() % 20];
      if (text.empty()) text = "{";
    }
    try {
      parse_recipe(text, "text").type_of("blk.0.ffn_up_exps.weight");
      ++read;
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(read > 0);
  CHECK(refused > 1000);
}

}  // namespace
