#include "runtime/plan/tuning_file.hpp"

#include <doctest/doctest.h>

#include <fstream>

#include "runtime/base/error.hpp"
#include "runtime/model/config.hpp"
#include "runtime/plan/plan.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::runtime;
using cpu::Isa;
using quant::DType;

const std::string kProcessor = "GenuineIntel 6/207";

TuningFile parsed(const std::string& text, Isa isa = Isa::kScalar) {
  return parse_tuning(text, "tuning.json", kProcessor, isa);
}

std::string file_of(const std::string& types, const std::string& processor = kProcessor, int version = 1,
                    const std::string& isa = "avx2") {
  return R"({"dodeca_tuning":)" + std::to_string(version) + R"(,"processor":")" + processor + R"(","isa":")" + isa +
         R"(","types":)" + types + "}";
}

const std::string kGood = R"({"gemv":"scalar","gemm":"scalar","gemm_min_rows":7})";

TEST_CASE("a kernel tuning is read as it was written") {
  const cpu::MatmulTuning tuning{{DType::kQ4_K, Isa::kScalar, Isa::kScalar, 2},
                                 {DType::kF8_E4M3_B128, Isa::kScalar, Isa::kScalar, 33}};
  const tests::TempDir dir;
  write_tuning(tuning, kProcessor, Isa::kAvx2, dir / "new/folder/tuning.json");
  CHECK(dir.n_entries() == 1);
  const TuningFile read = read_tuning(dir / "new/folder/tuning.json", kProcessor, Isa::kAvx2);
  CHECK(read.unfit.empty());
  CHECK(read.tuning == tuning);
  CHECK(parsed(file_of("{}")).tuning.empty());
}

TEST_CASE("a kernel tuning for something else is left out and says why") {
  const std::string types = R"({"Q4_K":)" + kGood + "}";
  CHECK(parsed(file_of(types)).unfit.empty());
  const TuningFile cases[] = {parsed(file_of(types, "AuthenticAMD 25/1")), parsed(file_of(types, kProcessor, 2)),
                              parsed(file_of(types), Isa::kAvx512)};
  const char* const reasons[] = {"it was measured on AuthenticAMD 25/1, this is GenuineIntel 6/207",
                                 "it has version 2, not 1", "it was measured up to avx2, this run has avx512"};
  for (int i = 0; i < 3; ++i) {
    CHECK(cases[i].tuning.empty());
    CHECK(cases[i].unfit == reasons[i]);
  }
  CHECK(parsed(R"({"dodeca_tuning":9,"other":1})").unfit == "it has version 9, not 1");  // keys of that version
}

TEST_CASE("a broken kernel tuning: file and reason are named") {
  const std::string type = R"({"Q4_K":)";
  const std::pair<std::string, std::string> cases[] = {
      {"", "not valid JSON"},
      {"[]", "it is no JSON object"},
      {"{}", "\"dodeca_tuning\" is missing"},
      {R"({"dodeca_tuning":"1"})", "\"dodeca_tuning\" is no integer"},
      {R"({"dodeca_tuning":1})", "\"processor\" is missing"},
      {R"({"dodeca_tuning":1,"processor":6})", "\"processor\" is no string"},
      {file_of("{}", kProcessor, 1, "avx3"), "'avx3' is no instruction-set level"},
      {file_of("[]"), "\"types\" is no object"},
      {file_of(R"({},"more":1)"), "unknown key \"more\""},
      {file_of(R"({"Q9_K":)" + kGood + "}"), "nothing multiplies 'Q9_K'"},
      {file_of(R"({"I32":)" + kGood + "}"), "nothing multiplies 'I32'"},
      {file_of(R"({"Q\u00074_K":)" + kGood + "}"), "nothing multiplies 'Q\\x074_K'"},
      {file_of(R"({"Q4_K":)" + kGood + R"(,"q4_k":)" + kGood + "}"), "Q4_K is there twice"},
      {file_of(type + "[]}"), "\"Q4_K\" is no object"},
      {file_of(type + "{}}"), "\"gemv\" is missing"},
      {file_of(type + R"({"gemv":"scalar","gemm":"gemm_q4_k_avx2","gemm_min_rows":7}})"), "'gemm_q4_k_avx2' is no"},
      {file_of(type + R"({"gemv":"scalar","gemm":"scalar","gemm_min_rows":1}})"), "is 1, not 2 to 33"},
      {file_of(type + R"({"gemv":"scalar","gemm":"scalar","gemm_min_rows":34}})"), "is 34, not 2 to 33"},
      {file_of(type + R"({"gemv":"scalar","gemm":"scalar","gemm_min_rows":-9e99}})"), "is no integer"},
      {file_of(type + R"({"gemv":"scalar","gemm":"scalar","gemm_min_rows":18446744073709551615}})"), "not 2 to 33"},
      {file_of(type + R"({"gemv":"scalar","gemm":"scalar","gemm_min_rows":7,"rows":1}})"), "unknown key \"rows\""},
#ifndef DODECA_SCALAR_ONLY
      {file_of(type + R"({"gemv":"avx512","gemm":"scalar","gemm_min_rows":7}})"), "Q4_K has no gemv kernel at avx512"},
      {file_of(type + R"({"gemv":"scalar","gemm":"avx512","gemm_min_rows":7}})"), "Q4_K has no gemm kernel at avx512"},
#endif
  };
  for (const auto& [text, reason] : cases) {
    try {
      parsed(text);
      FAIL("no error for " << text);
    } catch (const Error& error) {
      const std::string what = error.what();
      CHECK(error.kind() == ErrorKind::kBadFile);
      CHECK_MESSAGE(what.find("tuning.json") != std::string::npos, what);
      CHECK_MESSAGE(what.find(reason) != std::string::npos, what, " has not: ", reason);
    }
  }
}

TEST_CASE("a kernel tuning cut off or changed anywhere is read or refused, nothing else") {
  const std::string good = file_of(R"({"Q4_K":)" + kGood + R"(,"Q6_K":)" + kGood + "}");
  const auto survives = [](const std::string& text) {
    try {
      for (const cpu::TunedVariants& tuned : parsed(text).tuning) CHECK(tuned.gemm_min_rows <= cpu::kMostGemmMinRows);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kBadFile);
    }
  };
  for (std::size_t i = 0; i < good.size(); ++i) {
    survives(good.substr(0, i));
    for (const char c : {'\0', '"', '9', '}', '\xff'}) {
      std::string changed = good;
      changed[i] = c;
      survives(changed);
    }
  }
}

TEST_CASE("a file larger than any tuning is not read") {
  const tests::TempDir dir;
  std::ofstream(dir / "large.json") << std::string((1 << 20) + 1, ' ');
  CHECK_THROWS_AS(read_tuning(dir / "large.json", kProcessor, Isa::kScalar), Error);
  CHECK_THROWS_AS(read_tuning(dir / "none.json", kProcessor, Isa::kScalar), Error);
}

TEST_CASE("a plan takes the tuned kernels and says so") {
  const ModelConfig config;
  const auto matrix = [](WeightRole role, DType dtype) {
    const WeightId id{role, 0};
    return WeightInfo{
        .id = id, .name = gguf_name(id), .dtype = dtype, .n_in = 256, .n_out = 32, .n_slices = 1, .source_rank = 2};
  };
  const std::vector<WeightInfo> weights = {matrix(WeightRole::kQ, DType::kQ4_K), matrix(WeightRole::kK, DType::kQ4_K),
                                           matrix(WeightRole::kV, DType::kQ6_K)};
  const Plan plan = make_plan(config, weights, {}, {}, {.tuning = {{DType::kQ4_K, Isa::kScalar, Isa::kScalar, 17}}});
  CHECK(plan.weights[0].gemv->name == "gemv_q4_k_scalar");
  CHECK(plan.weights[0].gemm_min_rows == 17);
  CHECK(plan.weights[2].gemm_min_rows == cpu::kGemmMinRows);
  const std::vector<std::string> facts = kernel_facts(plan);
  REQUIRE(facts.size() == 2);
  CHECK(facts[0] == "Q4_K: gemv_q4_k_scalar, from 17 rows gemm_q4_k_scalar");
}

}  // namespace
