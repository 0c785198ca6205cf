#include "runtime/load/json.hpp"

#include <nlohmann/json.hpp>

#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

void fuzz_json(std::string_view bytes) {
  const runtime::Json json = runtime::parse_json(bytes, "fuzz");
  require(runtime::parse_json(json.dump(), "dump") == json, "a dumped document reads back as another");
}

std::vector<std::string> fuzz_json_seeds() {
  return {R"({"a":[1,-2,3.5e-7,true,false,null,"x\u00e9\n\ud83d\ude00"],"b":{"c":{"d":[[[]]]}},"":0})",
          "[[[[[[[[]]]]]]]]",
          "\"text\"",
          "18446744073709551615",
          "-9223372036854775808",
          "[1e308,-0.0,0]"};
}

}  // namespace dodeca::tests
