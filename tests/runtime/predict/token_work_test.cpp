#include "runtime/predict/token_work.hpp"

#include <doctest/doctest.h>

#include "tests/runtime/predict/planned.hpp"

using namespace dodeca;
using namespace dodeca::runtime::predict;

TEST_CASE("expected experts: one row touches its own, many touch all") {
  CHECK(expected_experts(256, 8, 1) == doctest::Approx(8));
  CHECK(expected_experts(256, 8, 2) == doctest::Approx(8 + 8 * 248.0 / 256));
  CHECK(expected_experts(64, 6, 1000) == doctest::Approx(64));
  CHECK(expected_experts(0, 0, 4) == 0);
}

TEST_CASE("a token's bytes are the plan's, its products the active parameters") {
  const runtime::ModelConfig config = runtime::published_shape("deepseek-v3");
  const runtime::Plan plan = planned("deepseek-v3", "ud-q2_k_xl");
  const TokenWork work = token_work(plan);
  CHECK(work.step_bytes(8) == doctest::Approx(plan.bytes_per_token));
  CHECK(work.step_bytes(256) == doctest::Approx(static_cast<double>(plan.bytes)).epsilon(0.003));  // but the embeddings
  // 37.5 billion active parameters, of which the embeddings (0.93) are looked up
  const Macs one = work.prompt_macs(1, 1);
  CHECK(one.sum() == doctest::Approx(36.6e9).epsilon(0.01));
  CHECK(one.f32 == doctest::Approx(58 * 256 * 7168));  // the routers
  CHECK(work.prompt_macs(10, 0).sum() == doctest::Approx(10 * work.layers.sum()));
  CHECK(work.output.int8 == doctest::Approx(129280.0 * 7168));
}

TEST_CASE("attention's products grow with the depth, decompression with the micro-batches") {
  runtime::ModelConfig config = runtime::published_shape("deepseek-v3");
  config.layers.resize(1);
  const AttentionWork work = attention_work(config, false);
  CHECK(work.generated.int8 == 128 * (512 + 64 + 512));
  CHECK(work.prompt.int8 == 128 * (128 + 64 + 128));
  CHECK(work.decompress.int8 == 128 * 512 * (128 + 128));
  CHECK(work.prompt_macs(1, 0, 512).sum() == work.prompt.int8);  // a row sees itself
  CHECK(work.prompt_macs(3, 100, 512).sum() ==
        doctest::Approx(work.prompt.int8 * (101 + 102 + 103) + 100 * work.decompress.int8));
  // 4 rows two at a time: 102 and 104 positions, of which the products with weights hold 4
  CHECK(work.prompt_macs(4, 100, 2).sum() ==
        doctest::Approx(work.prompt.int8 * (101 + 102 + 103 + 104) + (102 + 104 - 4) * work.decompress.int8));
  CHECK(attention_work(config, true).generated.int8 == 0);
  CHECK(attention_work(config, true).generated.f32 == work.generated.int8);
}

TEST_CASE("chosen positions and windows end the growth of attention's products") {
  const runtime::ModelConfig glm = runtime::published_shape("glm-5");
  const AttentionWork sparse = attention_work(glm, false);
  CHECK(sparse.index.int8 == 78 * 32 * 128);
  CHECK(sparse.generated_macs(2048).sum() == sparse.generated.int8 * 2048);
  CHECK(sparse.generated_macs(32768).sum() == sparse.generated.int8 * 2048 + sparse.index.int8 * 32768);
  CHECK(sparse.prompt_macs(1, 32767, 512).sum() == sparse.prompt.int8 * 2048 + sparse.index.int8 * 32768);
  const runtime::ModelConfig oss = runtime::published_shape("gpt-oss-20b");  // every other layer sees 128 positions
  const AttentionWork windows = attention_work(oss, false);
  CHECK(windows.generated.f32 == 12 * 64 * 2 * 64);
  CHECK(windows.generated_macs(1000).sum() == windows.generated.f32 * 1000 + windows.windowed_generated.f32 * 128);
  CHECK(windows.prompt.int8 == windows.generated.f32);
  CHECK(attention_work(oss, false, true).generated.int8 == windows.generated.f32);
}
