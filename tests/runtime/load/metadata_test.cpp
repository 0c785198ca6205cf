#include <doctest/doctest.h>

#include <limits>

#include "runtime/load/gguf.hpp"

using namespace dodeca::runtime;

TEST_CASE("keys are found, replaced in place, appended and erased") {
  Metadata m;
  CHECK(m.add("a", std::uint32_t{1}));
  CHECK(m.add("b", std::string("x")));
  CHECK_FALSE(m.add("a", std::uint32_t{9}));
  CHECK(m.integer("a") == 1);
  m.set("a", std::uint64_t{2});
  m.set("c", 3.0f);
  REQUIRE(m.entries().size() == 3);
  CHECK(m.entries()[0].first == "a");
  CHECK(m.integer("a") == 2);
  m.erase("a");
  m.erase("nothing");
  CHECK(m.find("a") == nullptr);
  CHECK(m.string("b") == "x");
  CHECK(m.number("c") == 3.0);
  CHECK(m.entries().size() == 2);
  CHECK(m.add("a", true));
  CHECK(m.boolean("a") == true);
}

TEST_CASE("any integer type that fits is an integer; nothing else is") {
  Metadata m;
  m.set("u64", std::uint64_t{1} << 63);
  m.set("float", 1.0f);
  m.set("bool", true);
  m.set("string", std::string("1"));
  m.set("array", MetaArray<std::int32_t>{{1, 2}});
  m.set("big array", MetaArray<std::uint64_t>{{1, std::uint64_t{1} << 63}});
  m.set("floats", MetaArray<float>{{1.5f, 2.5f}});
  m.set("strings", MetaArray<std::string>{{"a", "b"}});
  CHECK_FALSE(m.integer("absent").has_value());
  CHECK_FALSE(m.integers("absent").has_value());
  CHECK(m.strings("absent") == nullptr);
  for (const char* key : {"u64", "float", "bool", "string", "array"}) {
    CAPTURE(key);
    CHECK_THROWS_AS(m.integer(key), Error);
  }
  CHECK(m.number("u64") == 9223372036854775808.0);
  for (const char* key : {"bool", "string", "array"}) CHECK_THROWS_AS(m.number(key), Error);
  for (const char* key : {"u64", "float", "string", "array"}) CHECK_THROWS_AS(m.boolean(key), Error);
  for (const char* key : {"u64", "bool", "array", "strings"}) CHECK_THROWS_AS(m.string(key), Error);
  for (const char* key : {"u64", "big array", "floats", "strings"}) CHECK_THROWS_AS(m.integers(key), Error);
  for (const char* key : {"u64", "strings"}) CHECK_THROWS_AS(m.numbers(key), Error);
  for (const char* key : {"string", "floats"}) CHECK_THROWS_AS(m.strings(key), Error);
  CHECK(m.numbers("array") == std::vector<double>{1, 2});
  try {
    m.integer("string");
  } catch (const Error& error) {
    CHECK(error.sentence() == "metadata key string should be an integer and is string");
  }
}

TEST_CASE("arrays of one element and bools as numbers mean what they say") {
  Metadata m;
  m.set("ids", MetaArray<std::uint8_t>{{7}});
  m.set("factors", MetaArray<double>{{1.5}});
  m.set("texts", MetaArray<std::string>{{"a"}});
  m.set("flags", MetaArray<bool>{{true}});
  m.set("one", std::int8_t{1});
  m.set("zero", std::uint64_t{0});
  m.set("two", std::uint32_t{2});
  CHECK(m.integer("ids") == 7);
  CHECK(m.number("factors") == 1.5);
  CHECK(m.string("texts") == "a");
  CHECK(m.boolean("flags") == true);
  CHECK(m.boolean("one") == true);
  CHECK(m.boolean("zero") == false);
  CHECK_THROWS_AS(m.boolean("two"), Error);
  CHECK_THROWS_AS(m.integer("flags"), Error);
  CHECK_THROWS_AS(m.integer("factors"), Error);
}

TEST_CASE("override-kv takes lists, in which an assignment with commas stands in quotes") {
  Metadata m;
  override_kv(m, R"(a=int:1,b=float:2,"c=str:x, ""y""",d=bool:false,e=str:said "so")");
  CHECK(m.integer("a") == 1);
  CHECK(m.number("b") == 2.0);
  CHECK(m.string("c") == "x, \"y\"");
  CHECK(m.boolean("d") == false);
  CHECK(m.string("e") == "said \"so\"");
  for (const char* wrong : {"a=int:1,", ",a=int:1", "a=str:x,y", "\"a=str:x", "a=int:1,b=bool:maybe"})
    CHECK_THROWS_AS(override_kv(m, wrong), Error);
  CHECK_THROWS_WITH_AS(override_kv(m, "a=int:1,general.name=bool:maybe"), doctest::Contains("maybe"), Error);
}

TEST_CASE("override-kv sets int, float, bool and str, and says what it does not understand") {
  Metadata m;
  m.set("a.int", std::uint32_t{1});
  override_kv(m, "a.int=int:-7");
  override_kv(m, "a.float=float:2.5e-1");
  override_kv(m, "a.bool=bool:true");
  override_kv(m, "a.str=str:x=y:z");
  override_kv(m, "a.empty=str:");
  CHECK(m.integer("a.int") == -7);
  CHECK(m.number("a.float") == 0.25);
  CHECK(m.boolean("a.bool") == true);
  CHECK(m.string("a.str") == "x=y:z");
  CHECK(m.string("a.empty") == "");
  for (const char* wrong : {"", "=int:1", "key", "key=int", "key:int=1", "k=int:", "k=int:1x",
                            "k=int:99999999999999999999", "k=float:x", "k=bool:1", "k=u32:1", "k=INT:1"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(override_kv(m, wrong), Error);
  }
}
