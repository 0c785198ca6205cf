#include "quant/dtype.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <set>
#include <string>

using namespace dodeca::quant;

TEST_CASE("type table: ids ascend, names are unique, lookups agree") {
  std::uint32_t previous = 0;
  std::set<std::string> names;
  for (const TypeInfo& type : all_types()) {
    CAPTURE(type.name);
    const auto id = static_cast<std::uint32_t>(type.dtype);
    CHECK((id == 0 || id > previous));
    previous = id;
    CHECK(names.insert(std::string(type.name)).second);
    CHECK(find_type(id) == &type);
    CHECK(find_type(type.name) == &type);
    CHECK(&type_info(type.dtype) == &type);
    CHECK(foreign_type_name(id).empty());
    CHECK((!type.encodable || type.decodable));
  }
}

TEST_CASE("names are found whatever their case, and nothing else is") {
  CHECK(find_type("q2_k")->dtype == DType::kQ2_K);
  CHECK(find_type("Iq4_nl")->dtype == DType::kIQ4_NL);
  CHECK(find_type("f8_e4m3_b128")->dtype == DType::kF8_E4M3_B128);
  CHECK(find_type("") == nullptr);
  CHECK(find_type("Q2") == nullptr);
  CHECK(find_type("Q2_K ") == nullptr);
  CHECK(find_type("Q2_K_XL") == nullptr);
}

TEST_CASE("ik_llama.cpp's types: ids, and the bytes of a row of 1024 weights") {
  struct {
    const char* name;
    std::uint32_t id;
    std::size_t bytes;
  } constexpr kTypes[] = {
      {"Q6_0", 133, 832},        {"IQ2_K", 137, 304},      {"IQ3_K", 138, 440},      {"IQ4_K", 139, 576},
      {"IQ5_K", 140, 704},       {"IQ6_K", 141, 848},      {"IQ4_KS", 144, 4 + 544}, {"IQ2_KS", 145, 2 + 280},
      {"IQ4_KSS", 146, 4 + 512}, {"IQ5_KS", 152, 4 + 672}, {"IQ3_KS", 156, 2 + 408}, {"IQ2_KL", 157, 2 + 344},
  };
  for (const auto& type : kTypes) {
    CAPTURE(type.name);
    REQUIRE(find_type(type.id) != nullptr);
    CHECK(find_type(type.id)->name == type.name);
    CHECK(is_ik_type(find_type(type.id)->dtype));
    CHECK(row_bytes(find_type(type.id)->dtype, 1024) == type.bytes);
  }
}

TEST_CASE("known but not readable: named, neither decodable nor encodable") {
  for (const char* name : {"NVFP4", "Q1_0", "Q2_0", "Q8_1", "I8", "I16", "I32", "I64", "F64", "F8_E4M3"}) {
    CAPTURE(name);
    REQUIRE(find_type(name) != nullptr);
    CHECK_FALSE(find_type(name)->decodable);
    CHECK_FALSE(find_type(name)->encodable);
  }
  CHECK(find_type(40)->name == "NVFP4");
  CHECK(find_type(41)->name == "Q1_0");
  CHECK(find_type(42)->name == "Q2_0");
}

TEST_CASE("foreign ids are named, unknown ones are not") {
  for (const std::uint32_t id : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u}) {
    CHECK(find_type(id) == nullptr);
    CHECK(foreign_type_name(id).find("removed from GGUF") != std::string_view::npos);
  }
  CHECK(foreign_type_name(4) == "Q4_2 (removed from GGUF)");
  CHECK(foreign_type_name(134) == "IQ1_BN (ik_llama.cpp)");
  CHECK(foreign_type_name(158) == "IQ1_KT (ik_llama.cpp)");
  CHECK(foreign_type_name(212) == "Q4_K_R4 (ik_llama.cpp)");
  for (const std::uint32_t id : {43u, 96u, 142u, 159u, 1000u, 0xffffffffu}) {
    CHECK(find_type(id) == nullptr);
    CHECK(foreign_type_name(id).empty());
  }
}

TEST_CASE("row_bytes: whole blocks only, overflow is no size") {
  CHECK(row_bytes(DType::kQ2_K, 7168) == 28u * 84);
  CHECK(row_bytes(DType::kQ8_0, 128) == 4u * 34);
  CHECK(row_bytes(DType::kF8_E4M3_B128, 256) == 264u);
  CHECK(row_bytes(DType::kF32, 0) == 0u);
  CHECK(row_bytes(DType::kIQ4_KS, 7168) == 4u + 28u * 136);
  CHECK(tensor_bytes(DType::kIQ4_KS, 512, 3) == 3u * (4 + 2 * 136));
  CHECK(tensor_bytes(DType::kIQ2_KL, 512, 3) == 3u * (2 + 2 * 86));
  CHECK(tensor_bytes(DType::kQ2_K, 512, 0) == 0u);
  CHECK_FALSE(tensor_bytes(DType::kQ2_K, 512, -1).has_value());
  CHECK_FALSE(tensor_bytes(DType::kQ2_K, 512, std::numeric_limits<std::int64_t>::max()).has_value());
  CHECK_FALSE(row_bytes(DType::kQ2_K, 128).has_value());
  CHECK_FALSE(row_bytes(DType::kQ2_K, -256).has_value());
  CHECK_FALSE(row_bytes(DType::kF64, std::numeric_limits<std::int64_t>::max()).has_value());
  CHECK(row_bytes(DType::kBF16, std::int64_t{1} << 60) == std::size_t{1} << 61);
}
