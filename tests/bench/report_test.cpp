#include "bench/report.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "bench/statistics.hpp"

using namespace dodeca::bench;

namespace {

Result example() {
  Result r;
  r.test.model = "some \"model\".gguf";
  r.test.n_gen = 128;
  r.test.n_threads = 8;
  r.model_type = "deepseek2 671B Q2_K - Medium";
  r.model_size = 247600000000;
  r.model_n_params = 671026419200;
  r.test_time = "2026-01-02T03:04:05Z";
  r.samples_ns = {1000000000, 2000000000};  // 128 and 64 t/s
  r.bytes_per_token = 1e9;
  r.read_bandwidth = 192e9;
  return r;
}

Axes example_axes() {
  Axes axes;
  axes.models = {"m"};
  axes.n_threads = {8};
  return axes;
}

std::string rendered(Format format, const Axes& axes, const Result& result) {
  Environment env;
  env.build_commit = "abc123";
  env.build_number = 42;
  std::string text;
  const auto report = make_report(format, axes, env, [&](std::string_view part) { text += part; });
  report->begin();
  report->add(result);
  report->end();
  return text;
}

}  // namespace

TEST_CASE("mean and sample deviation") {
  CHECK(mean({1, 2, 3}) == 2);
  CHECK(sample_stddev({1, 2, 3}) == 1);
  CHECK(sample_stddev({5}) == 0);
  CHECK(mean({}) == 0);
  const Result r = example();
  CHECK(r.mean_tps() == doctest::Approx(96));
  CHECK(r.stddev_tps() == doctest::Approx(std::sqrt(2.0) * 32));
  CHECK(r.bandwidth_percent() == doctest::Approx(50));
}

TEST_CASE("the table is llama-bench's") {
  const std::string text = rendered(Format::kMarkdown, example_axes(), example());
  CHECK(
      text.starts_with("| model                          |       size |     params | backend    | threads |            "
                       "test |                  t/s |\n"
                       "| ------------------------------ | ---------: | ---------: | ---------- | ------: | "
                       "--------------: | -------------------: |\n"
                       "| deepseek2 671B Q2_K - Medium   | 230.60 GiB |   671.03 B | CPU        |       8 |           "
                       "tg128 |        96.00 ± 45.25 |\n"
                       "\nbuild: abc123 (42)\n"));
  CHECK(text.find("50.0 % of the bandwidth limit") != std::string::npos);
}

TEST_CASE("parameters that vary or differ from their default get a column") {
  Axes axes = example_axes();
  axes.n_ubatch = {256, 512};
  axes.cache_type = {dodeca::quant::DType::kQ8_0};
  axes.inert[kFlashAttention] = {"1"};
  axes.inert[kNoHost] = {"0"};
  Result r = example();
  r.test.cache_type = dodeca::quant::DType::kQ8_0;
  r.test.inert[kFlashAttention] = "1";
  const std::string text = rendered(Format::kMarkdown, axes, r);
  CHECK(text.find("| threads | n_ubatch | type_k | type_v |  fa |            test |") != std::string::npos);
  CHECK(text.find("|       8 |      512 |   q8_0 |   q8_0 |   1 |           tg128 |") != std::string::npos);
}

TEST_CASE("json has llama-bench's fields in order, then ours") {
  const auto rows = nlohmann::ordered_json::parse(rendered(Format::kJson, example_axes(), example()));
  REQUIRE(rows.size() == 1);
  std::vector<std::string> names;
  for (const auto& [name, value] : rows[0].items()) names.push_back(name);
  const std::vector<std::string> expected = {"build_commit",
                                             "build_number",
                                             "cpu_info",
                                             "gpu_info",
                                             "backends",
                                             "model_filename",
                                             "model_type",
                                             "model_size",
                                             "model_n_params",
                                             "n_batch",
                                             "n_ubatch",
                                             "n_threads",
                                             "cpu_mask",
                                             "cpu_strict",
                                             "poll",
                                             "type_k",
                                             "type_v",
                                             "n_gpu_layers",
                                             "n_cpu_moe",
                                             "split_mode",
                                             "main_gpu",
                                             "no_kv_offload",
                                             "flash_attn",
                                             "devices",
                                             "tensor_split",
                                             "tensor_buft_overrides",
                                             "load_mode",
                                             "embeddings",
                                             "no_op_offload",
                                             "no_host",
                                             "fit_target",
                                             "fit_min_ctx",
                                             "n_prompt",
                                             "n_gen",
                                             "n_depth",
                                             "test_time",
                                             "avg_ns",
                                             "stddev_ns",
                                             "avg_ts",
                                             "stddev_ts",
                                             "samples_ns",
                                             "samples_ts",
                                             "bytes_per_token",
                                             "gb_per_s",
                                             "membw_gb_per_s",
                                             "membw_percent",
                                             "whole_model_ts",
                                             "n_parallel",
                                             "experts_touched",
                                             "gmac_per_s",
                                             "int8_peak_gmac_per_s",
                                             "f32_peak_gmac_per_s",
                                             "peak_percent",
                                             "joules_per_token",
                                             "device_ns",
                                             "experts_ns",
                                             "hybrid_limit_ns",
                                             "hot_experts_percent",
                                             "streamed_percent",
                                             "streamed_gb_per_s",
                                             "environment"};
  CHECK(names == expected);
  CHECK(rows[0]["model_filename"] == "some \"model\".gguf");
  CHECK(rows[0]["no_kv_offload"].is_boolean());
  CHECK(rows[0]["flash_attn"].is_number_integer());
  CHECK(rows[0]["avg_ns"] == 1500000000);
  CHECK(rows[0]["samples_ts"].size() == 2);
  const auto line = nlohmann::ordered_json::parse(rendered(Format::kJsonl, example_axes(), example()));
  CHECK(line == rows[0]);
}

TEST_CASE("csv quotes every field; a prompt has no share of the bandwidth") {
  Result r = example();
  r.test.n_gen = 0;
  r.test.n_prompt = 512;
  r.bytes_per_token = 0;
  const std::string text = rendered(Format::kCsv, example_axes(), r);
  const std::size_t newline = text.find('\n');
  CHECK(text.substr(0, newline).starts_with("build_commit,build_number,"));
  CHECK(text.substr(newline + 1).starts_with("\"abc123\",\"42\","));
  CHECK(text.find("\"some \"\"model\"\".gguf\"") != std::string::npos);
  CHECK(text.ends_with(
      ",\"\",\"\",\"192.000000\",\"\",\"\",\"1\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"\n"));
}

TEST_CASE("sql creates llama-bench's table and inserts into it") {
  const std::string text = rendered(Format::kSql, example_axes(), example());
  CHECK(text.starts_with("CREATE TABLE IF NOT EXISTS llama_bench (\n  build_commit TEXT,\n  build_number INTEGER,"));
  CHECK(text.find("\nINSERT INTO llama_bench (build_commit, build_number,") != std::string::npos);
}

TEST_CASE("a slice's results say what the whole model would do") {
  Result r = example();
  r.whole = extrapolate(1.28e9, 0, 0.128e9, {1, 9}, {3, 58});  // per token 1 ms for every layer
  r.whole->bytes_per_token = 61e8;
  const std::string text = rendered(Format::kMarkdown, example_axes(), r);
  CHECK(text.find("from 1 dense and 9 MoE layers to the whole model's 3 and 58") != std::string::npos);
  CHECK(
      text.find("tg128: 3 x 1 ms + 58 x 1 ms + output 0 ms = 61 ms per token, 16.39 t/s; 6.10 GB per token, 52.1 % of "
                "the bandwidth limit") != std::string::npos);
  const auto object = nlohmann::json::parse(rendered(Format::kJsonl, example_axes(), r));
  CHECK(object["whole_model_ts"].get<double>() == doctest::Approx(1000.0 / 61));
  CHECK(nlohmann::json::parse(rendered(Format::kJsonl, example_axes(), example()))["whole_model_ts"].is_null());
  r.whole->bytes_per_token = 200e8;  // more than memory can have given
  CHECK(rendered(Format::kMarkdown, example_axes(), r)
            .find("tg128: the machine was too disturbed, the parts make 171 % of the bandwidth limit\n") !=
        std::string::npos);
}

TEST_CASE("several sequences: tokens are summed, experts and bytes are those of the step") {
  Result r = example();
  r.test.n_parallel = 4;
  r.experts_touched = 29.5;
  r.experts_expected = 30.5;
  r.n_experts = 256;
  CHECK(r.mean_tps() == doctest::Approx(4 * 96));
  const std::string text = rendered(Format::kMarkdown, example_axes(), r);
  CHECK(text.find(
            "tg128 x4: 29.5 experts touched per layer (even routing: 30.5 of 256), 1.000 GB per token, 384.00 GB/s, "
            "200.0 % of the bandwidth limit (192.00 t/s)") != std::string::npos);
}

TEST_CASE("a token at a depth stands beside its bytes and attention's arithmetic") {
  Result r = example();  // one token of 1 GB
  r.test.n_prompt = 0;
  r.test.n_gen = 1;
  r.test.n_depth = 4096;
  r.bytes_per_token = 1e9;
  r.read_bandwidth = 100e9;  // 10 ms
  r.attention_macs = {.int8 = 5e9};
  r.samples_ns = {20000000};            // 20 ms
  CHECK(r.token_limit_seconds() == 0);  // no peak
  CHECK(rendered(Format::kMarkdown, example_axes(), r).find("in attention") == std::string::npos);
  r.peak = {.int8 = 1000e9, .f32 = 100e9};  // 5 ms
  CHECK(r.token_limit_seconds() == doctest::Approx(0.015));
  CHECK(
      rendered(Format::kMarkdown, example_axes(), r)
          .find("5.000 GMAC per token in attention; limit 10.00 ms for bytes + 5.00 ms for attention, 75.0 % of it") !=
      std::string::npos);
}

TEST_CASE("a prompt's products stand beside the arithmetic peaks") {
  Result r = example();
  r.test.n_gen = 0;
  r.test.n_prompt = 100;
  r.bytes_per_token = 0;
  r.samples_ns = {1000000000};  // 100 t/s
  r.macs = {.int8 = 300e9, .f32 = 10e9};
  r.peak = {.int8 = 1000e9, .f32 = 100e9};  // the products alone would take 0.3 + 0.1 s
  CHECK(r.peak_percent() == doctest::Approx(40));
  const std::string text = rendered(Format::kMarkdown, example_axes(), r);
  CHECK(text.find("arithmetic peak: int8 1000, f32 100 GMAC/s measured in registers with 8 threads") !=
        std::string::npos);
  CHECK(text.find("pp100: 3.100 GMAC per token, 310.0 GMAC/s, 40.0 % of the arithmetic limit "
                  "(250.0 t/s)") != std::string::npos);
  r.peak = {};
  CHECK(r.peak_percent() == 0);
  CHECK(rendered(Format::kMarkdown, example_axes(), r).find("arithmetic limit") == std::string::npos);
}
