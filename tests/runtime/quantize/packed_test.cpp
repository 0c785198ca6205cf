// Checkpoints with packed 4-bit experts: the new file has their values and no others.
#include "tests/runtime/quantize/quantize_fixture.hpp"
#include "tests/support/int4_checkpoint.hpp"
#include "tests/support/temp_dir.hpp"

namespace {

using namespace dodeca;
using namespace dodeca::tests;
using namespace dodeca::tests::quantizing;

QuantizeOptions with_experts_as(DType dtype, DType others) {
  QuantizeOptions options = uniform_options(others);
  options.types.overrides.push_back(make_override("_exps", quant::name_of(dtype)));
  return options;
}

TEST_CASE("packed experts are copied to Q4_0 without rounding") {
  for (const bool wrapped : {false, true}) {
    const TempDir dir;
    int4_checkpoint(wrapped).write(dir.path(), int4_config(wrapped));
    const auto from = open_weights(dir.path(), {}, kSilent);
    for (const QuantizeOptions& options :
         {recipe_options("copy"), uniform_options(DType::kQ4_0), with_experts_as(DType::kQ4_0, DType::kQ8_0)}) {
      Lines lines;
      make(dir.path(), dir / "q.gguf", options, 2, lines.log());
      CHECK_FALSE(lines.mention("quantized already"));
      const auto made = open_weights(dir / "q.gguf", {}, kSilent);
      for (const WeightInfo& weight : from->weights()) {
        const bool copied = options.types.recipe != nullptr || is_routed(weight.id.role);
        if (is_routed(weight.id.role)) CHECK(made->find(weight.name)->dtype == DType::kQ4_0);
        if (copied) CHECK(values_of(*made, weight.name) == values_of(*from, weight.name));
      }
    }
    Lines lines;
    make(dir.path(), dir / "q.gguf", uniform_options(DType::kQ8_0), 1, lines.log());
    CHECK(lines.mention("quantized already"));
  }
}

TEST_CASE("copying keeps every type that a GGUF has, and rounds FP8 alone") {
  const TempDir dir;
  make(kDemo, dir / "a.gguf", recipe_options("ud-q2_k_xl"));
  make(dir / "a.gguf", dir / "b.gguf", recipe_options("copy"));
  const auto a = open_weights(dir / "a.gguf", {}, kSilent), b = open_weights(dir / "b.gguf", {}, kSilent);
  for (const WeightInfo& weight : a->weights()) {
    CHECK(b->find(weight.name)->dtype == weight.dtype);
    CHECK(values_of(*b, weight.name) == values_of(*a, weight.name));
  }
  CHECK(b->gguf()->metadata().integer("general.file_type") == 10);  // Q2_K, the type of most weights

  const auto fp8 = open_weights(kDemo, {}, kSilent);
  const QuantizePlan plan = plan_quantization(*fp8, recipe_options("copy"), kSilent);
  for (const OutputTensor& tensor : plan.tensors) {
    const bool vector = tensor.weight->source_rank == 1 || tensor.weight->id.role == WeightRole::kRouter;
    const bool is_fp8 = tensor.weight->dtype >= DType::kInternal;
    CHECK(tensor.dtype == (vector ? DType::kF32 : is_fp8 ? DType::kBF16 : tensor.weight->dtype));
  }
  CHECK(plan.metadata.integer("general.file_type") == 32);
}

}  // namespace
