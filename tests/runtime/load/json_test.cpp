#include "runtime/load/json.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_gguf.hpp"

using namespace dodeca::runtime;

namespace {

std::string json_failure(std::string_view text) {
  try {
    parse_json(text, "the text");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kBadFile);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("documents keep their values and the order of keys") {
  const Json json = parse_json(
      R"({"z": 1, "a": [true, null, -2, 18446744073709551615, 0.5, "x\u00e9\ud83d\ude00"], "m": {"k": {}}} )", "t");
  CHECK(json.dump() ==
        "{\"z\":1,\"a\":[true,null,-2,18446744073709551615,0.5,\"x\xc3\xa9\xf0\x9f\x98\x80\"],\"m\":{\"k\":{}}}");
  CHECK(json["m"]["k"].is_object());
  CHECK(parse_json("3", "t") == 3);
  CHECK(parse_json("\xef\xbb\xbf[]", "t").is_array());
}

TEST_CASE("what is no JSON is an error with the place") {
  for (const char* text : {"", "{", "[1,]", "{\"a\":}", "nul", "\"\xff\"", "\"\xed\xa0\x80\"", "{} x", "[1e999]",
                           "{\"a\" 1}", "'a'", "\"\n\"", "// c\n1", "[NaN]", "\"\\ud800\""}) {
    CAPTURE(text);
    CHECK_FALSE(json_failure(text).empty());
  }
  CHECK(json_failure("{\"a\": tru}").find("column 10") != std::string::npos);
  CHECK_FALSE(json_failure(std::string_view("1\0", 2)).empty());
}

TEST_CASE("another encoding is named") {
  CHECK(json_failure(std::string_view("{\0\"\0a\0\"\0:\0"
                                      "1\0}\0",
                                      14))
            .find("UTF-16 (little-endian)") != std::string::npos);
  CHECK(json_failure("{\"a\": \"caf\xe9\"}").find("byte 0xE9 begins no UTF-8 character") != std::string::npos);
  CHECK(json_failure("{\"a\": \"caf\xc3\xa9\" x").find("UTF-8 character") == std::string::npos);
}

TEST_CASE("duplicate keys are refused at any depth") {
  CHECK(json_failure(R"({"a":1,"b":2,"a":3})").find("the key a appears twice") != std::string::npos);
  CHECK_FALSE(json_failure(R"([{"x":{"a":1,"a":1}}])").empty());
  CHECK(json_failure(R"([{"a":1},{"a":1}])").empty());
  CHECK_FALSE(json_failure(R"({"a":1,"\u0061":2})").empty());
}

TEST_CASE("nesting has a limit, below which it works") {
  CHECK(json_failure(std::string(100, '[') + std::string(100, ']')).empty());
  CHECK(json_failure(std::string(101, '[') + std::string(101, ']')).find("nests") != std::string::npos);
  CHECK_FALSE(json_failure(std::string(1000000, '[')).empty());
}

TEST_CASE("objects of 200,000 keys parse in linear time") {
  std::string text = "{";
  for (int i = 0; i < 200000; ++i) text += (i > 0 ? ",\"key" : "\"key") + std::to_string(i) + "\":" + std::to_string(i);
  text += "}";
  const Json json = parse_json(text, "t");  // quadratic insertion would take minutes and the test's time limit
  CHECK(json.size() == 200000);
  std::int64_t sum = 0;
  for (const auto& [key, value] : json.items()) sum += value.get<std::int64_t>();
  CHECK(sum == 19999900000);
}

TEST_CASE("files are read up to the size allowed") {
  const dodeca::tests::TempDir dir;
  dodeca::tests::write_bytes(dir / "a.json", "{\"a\": [1, 2]}");
  CHECK(read_json(dir / "a.json")["a"][1] == 2);
  CHECK(read_json(dir / "a.json", 13).is_object());
  CHECK_THROWS_AS(read_json(dir / "a.json", 12), Error);
  CHECK_THROWS_AS(read_json(dir / "absent.json"), Error);
  try {
    dodeca::tests::write_bytes(dir / "b.json", "{");
    read_json(dir / "b.json");
  } catch (const Error& error) {
    CHECK(std::string(error.what()).find("b.json") != std::string::npos);
  }
}

TEST_CASE("integers are exact or refused") {
  CHECK(parse_json("18446744073709551615", "t").get<std::uint64_t>() == 18446744073709551615u);
  CHECK(parse_json("-9223372036854775808", "t").get<std::int64_t>() == std::numeric_limits<std::int64_t>::min());
  CHECK(parse_json("1e20", "t").is_number_float());
  CHECK_THROWS_WITH_AS(parse_json("[18446744073709551616]", "t"), doctest::Contains("the integer 18446744073709551616"),
                       Error);
}

TEST_CASE("a file that is too large is refused before it is read, one with too many values while it is") {
  const dodeca::tests::TempDir dir;
  dodeca::tests::write_bytes(dir / "sparse.json", "{}");
  std::filesystem::resize_file(dir / "sparse.json", std::uintmax_t{1} << 40);
  CHECK_THROWS_WITH_AS(read_json(dir / "sparse.json"),
                       doctest::Contains("has 1099511627776 bytes; at most 16777216 are read"), Error);
  CHECK(parse_json("[1, 2, 3]", "t", 4).size() == 3);
  CHECK_THROWS_WITH_AS(parse_json("[1, 2, 3]", "t", 3), doctest::Contains("more than 3 JSON values"), Error);
}
