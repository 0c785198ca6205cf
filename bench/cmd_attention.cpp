#include "bench/cmd_attention.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "cpu/kernels/attention/integer.hpp"
#include "cpu/kernels/index/index.hpp"
#include "cpu/kernels/peak/peak.hpp"
#include "cpu/memory.hpp"
#include "cpu/topology.hpp"
#include "quant/codec.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/model_options.hpp"
#include "runtime/cli/options.hpp"

namespace dodeca::bench {
namespace {

using cpu::IntegerShape;

// One layer of DeepSeek-V3, one chunk of positions; decompressed: one head and the rows of a micro-batch.
constexpr std::int64_t kPositions = cpu::kChunkPositions, kHeads = 128, kLatent = 512, kRope = 64, kHeadDim = 128,
                       kRows = 512;

std::vector<float> normal_values(std::int64_t n, float spread, std::mt19937& random) {
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

template <class Work>
double least_us(double seconds, const Work& work) {
  using Clock = std::chrono::steady_clock;
  double least = std::numeric_limits<double>::infinity(), spent = 0;
  while (spent < seconds) {
    const Clock::time_point begin = Clock::now();
    work();
    const double took = std::chrono::duration<double>(Clock::now() - begin).count();
    least = std::min(least, took);
    spent += took;
  }
  return 1e6 * least;
}

std::size_t head_bytes(quant::DType dtype) {
  return dtype == quant::DType::kI8 ? cpu::int8_row_bytes(kHeadDim, 0) : *quant::row_bytes(dtype, kHeadDim);
}

// What the lanes of a fold hold between chunks.
struct State {
  std::vector<float> max, sum, acc;
  std::vector<std::int32_t> visible;
  State(std::int64_t lanes, std::int64_t value)
      : max(lanes), sum(max.size()), acc(lanes * value), visible(max.size(), static_cast<std::int32_t>(kPositions)) {}
};

double fold_us(const cpu::IntegerAttention& kernels, const IntegerShape& shape, const cpu::Buffer& queries,
               const cpu::Buffer& chunk, std::int64_t lanes, double seconds) {
  State s(lanes, shape.value);
  return least_us(seconds, [&] {
    std::ranges::fill(s.max, -std::numeric_limits<float>::infinity());
    kernels.fold({.shape = shape,
                  .queries = queries.data(),
                  .n_lanes = lanes,
                  .chunk = chunk.data(),
                  .n = kPositions,
                  .visible = s.visible.data(),
                  .max = s.max.data(),
                  .sum = s.sum.data(),
                  .acc = s.acc.data(),
                  .acc_stride = shape.value});
  });
}

}  // namespace

AttentionTimes measure_attention(cpu::Isa isa, quant::DType dtype, double seconds) {
  const cpu::IntegerAttention& kernels = cpu::integer_attention(isa);
  const cpu::Digits digits = dtype == quant::DType::kI8 ? cpu::Digits::k8 : cpu::Digits::k16;
  const IntegerShape latent{digits, kLatent, kRope, kLatent}, head{digits, kHeadDim, kRope, kHeadDim},
      weights = cpu::without_rope(latent);
  constexpr std::int64_t kWidth = kLatent + kRope;
  const auto strips = [](const IntegerShape& shape, std::int64_t lanes) {
    return cpu::Buffer((lanes / cpu::kStripLanes) * cpu::strip_bytes(shape));
  };
  std::mt19937 random(1);

  const std::size_t row_bytes =
      dtype == quant::DType::kI8 ? cpu::int8_row_bytes(kLatent, kRope) : *quant::row_bytes(dtype, kWidth);
  const cpu::Buffer rows(row_bytes * kPositions), chunk(cpu::ChunkLayout(latent).total),
      head_chunk(cpu::ChunkLayout(head).total);
  const std::byte* blocks[kPositions / cpu::kWeightBlock];
  for (std::int64_t i = 0; i < kPositions; ++i) {
    const std::vector<float> row = normal_values(kWidth, 1.0f, random);
    std::byte* to = rows.data() + i * row_bytes;
    if (i % cpu::kWeightBlock == 0) blocks[i / cpu::kWeightBlock] = to;
    if (dtype == quant::DType::kI8)
      cpu::encode_int8_row(row.data(), kLatent, kRope, to);
    else
      quant::encode_row(dtype, row.data(), to, kWidth);
  }

  AttentionTimes t;
  const cpu::Buffer queries = strips(latent, kHeads), key_weights = strips(weights, kHeadDim),
                    row_queries = strips(head, kRows);
  const std::vector<float> absorbed = normal_values(kHeads * kWidth, 0.3f, random),
                           k_b = normal_values(kHeadDim * kLatent, 1.0f, random),
                           q = normal_values(kRows * (kHeadDim + kRope), 0.3f, random);
  t.pack = least_us(seconds, [&] {
    kernels.pack_queries({latent, absorbed.data(), kWidth, kHeads, 0.07f, queries.data()});
  });
  t.load = least_us(seconds, [&] { kernels.load_cache({latent, dtype, blocks, row_bytes, kPositions, chunk.data()}); });
  t.fold = fold_us(kernels, latent, queries, chunk, kHeads, seconds);

  t.pack_weights = least_us(seconds, [&] {
    kernels.pack_queries({weights, k_b.data(), kLatent, kHeadDim, 1.0f, key_weights.data()});
  });
  std::vector<float> made = normal_values(kPositions * 2 * kHeadDim, 1.0f, random);  // keys and values of the head
  t.project = least_us(seconds, [&] {
    kernels.project({latent, key_weights.data(), kHeadDim, chunk.data(), kPositions, made.data(), 2 * kHeadDim});
  });
  t.load_head = least_us(seconds, [&] {
    kernels.load_head(
        {head, made.data(), made.data() + kHeadDim, 2 * kHeadDim, kPositions, chunk.data(), latent, head_chunk.data()});
  });
  kernels.pack_queries({head, q.data(), kHeadDim + kRope, kRows, 0.07f, row_queries.data()});
  t.rows = fold_us(kernels, head, row_queries, head_chunk, kRows, seconds);
  return t;
}

GroupedTimes measure_grouped(cpu::Isa isa, quant::DType dtype, double seconds) {
  const cpu::IntegerAttention& kernels = cpu::integer_attention(isa);
  const cpu::Digits digits = dtype == quant::DType::kI8 ? cpu::Digits::k8 : cpu::Digits::k16;
  const IntegerShape shape{digits, kHeadDim, 0, kHeadDim};
  std::mt19937 random(1);
  const std::size_t row_bytes = head_bytes(dtype);
  // So many heads that their rows come from the last cache, as in a layer.
  constexpr std::int64_t kKeyValueHeads = 8;
  const cpu::Buffer rows(2 * kKeyValueHeads * kPositions * row_bytes), chunk(cpu::ChunkLayout(shape).total),
      strips(kRows / cpu::kStripLanes * cpu::strip_bytes(shape));
  for (std::int64_t i = 0; i < 2 * kKeyValueHeads * kPositions; ++i) {
    const std::vector<float> row = normal_values(kHeadDim, 1.0f, random);
    std::byte* to = rows.data() + i * row_bytes;
    if (dtype == quant::DType::kI8)
      cpu::encode_int8_row(row.data(), kHeadDim, 0, to);
    else
      quant::encode_row(dtype, row.data(), to, kHeadDim);
  }
  GroupedTimes t;
  const std::vector<float> q = normal_values(kRows * kHeadDim, 0.3f, random);
  kernels.pack_queries({shape, q.data(), kHeadDim, kRows, 0.07f, strips.data()});
  t.pack = least_us(seconds, [&] {
    kernels.pack_queries({shape, q.data(), kHeadDim, cpu::kStripLanes, 0.07f, strips.data()});
  });
  std::int64_t head = 0;
  t.load = least_us(seconds, [&] {
    const std::byte *keys[kPositions / cpu::kWeightBlock], *values[kPositions / cpu::kWeightBlock];
    for (std::int64_t b = 0; b < kPositions / cpu::kWeightBlock; ++b) {
      keys[b] = rows.data() + (2 * head * kPositions + b * cpu::kWeightBlock) * row_bytes;
      values[b] = keys[b] + kPositions * row_bytes;
    }
    kernels.load_rows({shape, dtype, dtype, keys, values, row_bytes, row_bytes, kPositions, chunk.data()});
    head = (head + 1) % kKeyValueHeads;
  });
  t.few_lanes = fold_us(kernels, shape, strips, chunk, 8, seconds);
  t.many_lanes = fold_us(kernels, shape, strips, chunk, kRows, seconds);
  return t;
}

IndexTimes measure_index(cpu::Isa isa, std::int64_t heads, double seconds) {
  constexpr std::int64_t kDim = 128, kSeen = 32768, kChosen = 2048;
  const cpu::IndexShape shape{cpu::IndexNumbers::kWords, heads, kDim};
  std::mt19937 random(1);
  const cpu::Buffer strips(static_cast<std::size_t>(shape.strips()) * cpu::index_strip_bytes(shape)),
      rows(cpu::index_row_bytes(shape) * kPositions);
  const std::vector<float> values = normal_values((heads + kPositions) * kDim, 1.0f, random);
  for (std::int64_t h = 0; h < heads; ++h)
    cpu::pack_index_query(shape, h, values.data() + h * kDim, values[h], strips.data());
  for (std::int64_t i = 0; i < kPositions; ++i)
    cpu::encode_index_row(shape, values.data() + (heads + i) * kDim, rows.data() + i * cpu::index_row_bytes(shape));
  IndexTimes t;
  std::vector<float> scores(kPositions), all = normal_values(kSeen + cpu::kChooseSlack, 1.0f, random);
  t.score_us = least_us(seconds, [&] {
    cpu::index_scores(
        {.shape = shape, .queries = strips.data(), .keys = rows.data(), .n = kPositions, .scores = scores.data()}, isa);
  });
  std::vector<std::int32_t> scratch(all.size());
  std::vector<std::int32_t> chosen(kChosen);
  t.choose_us = least_us(seconds, [&] {
    cpu::choose_highest({all.data(), kSeen, kChosen, scratch.data(), chosen.data()}, isa);
  });
  // A dword holds four bytes or two words.
  const cpu::PeakKernel* peak = cpu::select_peak(cpu::PeakKind::kInt8, isa);
  std::int64_t products = 0;
  const double peak_us = least_us(seconds, [&] { products = peak->run(1 << 14); });
  t.peak = static_cast<double>(products) / (2e3 * peak_us);
  return t;
}

namespace {

void print_grouped(cpu::Isa isa, double seconds, bool table, nlohmann::ordered_json& list) {
  if (table)
    runtime::cli::print_out(
        "\n| cache | bytes/head | pack 16 | load | 8 lanes | 512 lanes |\n"
        "| ----- | ---------: | ------: | ---: | ------: | --------: |\n");
  for (const quant::DType dtype : runtime::exec::kCacheTypes) {
    if (dtype == quant::DType::kF32) continue;
    runtime::cli::throw_if_stopped();
    const GroupedTimes t = measure_grouped(isa, dtype, seconds);
    if (table) {
      runtime::cli::print_out(fmt::format("| {:5} | {:10} | {:7.2f} | {:4.1f} | {:7.1f} | {:9.0f} |\n",
                                          quant::name_of(dtype), 2 * head_bytes(dtype), t.pack, t.load, t.few_lanes,
                                          t.many_lanes));
      runtime::cli::flush_out();
    }
    list.push_back({{"grouped", true},
                    {"cache", quant::name_of(dtype)},
                    {"isa", cpu::name_of(isa)},
                    {"load_us", t.load},
                    {"lanes_8_us", t.few_lanes},
                    {"lanes_512_us", t.many_lanes}});
  }
}

void print_index(cpu::Isa isa, double seconds, bool table, nlohmann::ordered_json& list) {
  if (table)
    runtime::cli::print_out(
        "\n| indexer | bytes/row | 256 positions | MAC/ns | words' peak | 2048 of 32768 |\n"
        "| ------- | --------: | ------------: | -----: | ----------: | ------------: |\n");
  for (const std::int64_t heads : {32, 64}) {
    runtime::cli::throw_if_stopped();
    const IndexTimes t = measure_index(isa, heads, seconds);
    const std::size_t bytes = cpu::index_row_bytes({cpu::IndexNumbers::kWords, heads, 128});
    if (table)
      runtime::cli::print_out(fmt::format("| {} heads | {:8} | {:13.1f} | {:6.1f} | {:11.1f} | {:13.1f} |\n", heads,
                                          bytes, t.score_us, t.macs_per_ns(heads), t.peak, t.choose_us));
    list.push_back({{"indexer_heads", heads},
                    {"isa", cpu::name_of(isa)},
                    {"row_bytes", bytes},
                    {"score_us", t.score_us},
                    {"choose_us", t.choose_us},
                    {"peak_mac_per_ns", t.peak}});
  }
}

}  // namespace

int cmd_attention(std::span<const std::string> args) {
  runtime::cli::Options options(
      "dodeca-bench attention",
      "Measures the kernels of attention on one thread, over each cache type: a chunk of 256 positions at\n"
      "DeepSeek-V3's sizes, absorbed (128 heads of a generated row) and decompressed (one head, 512 rows of a "
      "prompt),\n"
      "of grouped queries: one key-value head of 128 numbers; and the indexer of sparse attention: scores of so many\n"
      "positions, and choosing the highest.",
      "dodeca-bench attention\n"
      "  dodeca-bench attention --isa avx2 -o json");
  runtime::cli::Console console;
  std::string isa_name, output = "md";
  double seconds = 0.1;
  options.value("--isa", isa_name, "at most this instruction-set level (also DODECA_ISA)", "LEVEL");
  options.value("--seconds", seconds, "time for each step (default: 0.1)", {0.001, 3600});
  options.choice("-o,--output", output, {"md", "json"}, "format (default: md)");
  console.add_flags(options);
  options.parse(args);
  const cpu::Isa isa = runtime::cli::parse_isa(isa_name);
  const std::string model = cpu::read_topology().cpu_model;
  console.info(fmt::format("{}, 1 thread, {}; microseconds, the least of each step", model, cpu::name_of(isa)));
  if (output == "md")
    runtime::cli::print_out(
        "| cache | bytes/row | pack | load | 128 heads | absorbed | weights | project | load head | 512 rows | "
        "decompressed |\n"
        "| ----- | --------: | ---: | ---: | --------: | -------: | ------: | ------: | --------: | -------: | "
        "-----------: |\n");
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const quant::DType dtype : runtime::exec::kCacheTypes) {
    if (dtype == quant::DType::kF32) continue;  // attends in floats
    runtime::cli::throw_if_stopped();
    const AttentionTimes t = measure_attention(isa, dtype, seconds);
    const std::size_t bytes =
        dtype == quant::DType::kI8 ? cpu::int8_row_bytes(kLatent, kRope) : *quant::row_bytes(dtype, kLatent + kRope);
    if (output == "md") {
      runtime::cli::print_out(
          fmt::format("| {:5} | {:9} | {:4.0f} | {:4.0f} | {:9.0f} | {:8.0f} | {:7.0f} | {:7.0f} | {:9.0f} | {:8.0f} | "
                      "{:12.0f} |\n",
                      quant::name_of(dtype), bytes, t.pack, t.load, t.fold, t.absorbed(), t.pack_weights, t.project,
                      t.load_head, t.rows, t.decompressed()));
      runtime::cli::flush_out();
    }
    list.push_back({{"cache", quant::name_of(dtype)},
                    {"isa", cpu::name_of(isa)},
                    {"row_bytes", bytes},
                    {"load_us", t.load},
                    {"absorbed_us", t.absorbed()},
                    {"decompressed_us", t.decompressed()},
                    {"cpu_info", model}});
  }
  print_grouped(isa, seconds, output == "md", list);
  print_index(isa, seconds, output == "md", list);
  if (output == "json") runtime::cli::print_out(list.dump(2) + "\n");
  return 0;
}

}  // namespace dodeca::bench
