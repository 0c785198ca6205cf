#include "cpu/isa.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

using namespace dodeca;
using cpu::Isa;

namespace {

// DODECA_ISA for a scope.
class ScopedIsaVariable {
 public:
  explicit ScopedIsaVariable(const char* value) {
    if (const char* before = std::getenv("DODECA_ISA")) before_ = before;
    had_ = std::getenv("DODECA_ISA") != nullptr;
    value == nullptr ? unsetenv("DODECA_ISA") : setenv("DODECA_ISA", value, 1);
  }
  ~ScopedIsaVariable() { had_ ? setenv("DODECA_ISA", before_.c_str(), 1) : unsetenv("DODECA_ISA"); }

 private:
  std::string before_;
  bool had_ = false;
};

}  // namespace

TEST_CASE("ISA names and values name each other") {
  for (Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Vnni, Isa::kAvx512Bf16}) {
    CHECK(cpu::isa_from_name(cpu::name_of(isa)) == isa);
  }
  CHECK_FALSE(cpu::isa_from_name("AVX2").has_value());
  CHECK_FALSE(cpu::isa_from_name("").has_value());
}

TEST_CASE("a set contains those that it goes beyond, and no other") {
  CHECK(Isa::kAvx512Bf16.has(Isa::kAvx2));
  CHECK(Isa::kAvx2.has(Isa::kScalar));
  CHECK_FALSE(Isa::kAvx2.has(Isa::kAvx512));
  CHECK_FALSE(Isa::kScalar.has(Isa::kAvx2));
  CHECK(Isa() == Isa::kScalar);
  CHECK((Isa::kAvx2 | Isa::kAvx512) == Isa::kAvx512);
  CHECK((Isa::kScalar | Isa::kAvx2) == Isa::kAvx2);
}

TEST_CASE("built sets begin with scalar, each after those that it contains, and the host has some of them") {
  const auto built = cpu::built_isas();
  REQUIRE(!built.empty());
  CHECK(built.front() == Isa::kScalar);
  for (std::size_t i = 0; i < built.size(); ++i) {
    for (std::size_t k = i + 1; k < built.size(); ++k) CHECK_FALSE(built[i].has(built[k]));
  }
  CHECK(cpu::detected_isa().has(Isa::kScalar));
#ifdef DODECA_SCALAR_ONLY
  CHECK(built.size() == 1);
#endif
}

TEST_CASE("DODECA_ISA lowers the level") {
  for (Isa isa : cpu::built_isas()) {
    const ScopedIsaVariable variable(cpu::name_of(isa).c_str());
    if (cpu::detected_isa().has(isa)) {
      CHECK(cpu::host_isa() == isa);
    } else {
      CHECK_THROWS_AS(cpu::host_isa(), std::invalid_argument);
    }
  }
  const ScopedIsaVariable none(nullptr);
  CHECK(cpu::host_isa() == cpu::detected_isa());
}

TEST_CASE("a nonsense DODECA_ISA is an error that names the value and the levels") {
  for (const char* value : {"avx3", "AVX2", "avx2 ", "1"}) {
    const ScopedIsaVariable variable(value);
    try {
      cpu::host_isa();
      FAIL("no exception for " << value);
    } catch (const std::invalid_argument& error) {
      const std::string text = error.what();
      CHECK(text.find(value) != std::string::npos);
      CHECK(text.find("scalar, avx2, avx512, avx512_vnni, avx512_bf16") != std::string::npos);
    }
  }
}
