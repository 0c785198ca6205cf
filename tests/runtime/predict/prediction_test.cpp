// Predictions against arithmetic worked out by hand, and what must hold of them whatever the figures.
#include "runtime/predict/prediction.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "runtime/exec/executor.hpp"
#include "runtime/exec/grouped_heads.hpp"
#include "runtime/model/random_source.hpp"
#include "runtime/predict/calibration.hpp"
#include "runtime/predict/card_prompt.hpp"
#include "runtime/predict/card_time.hpp"
#include "runtime/predict/catalogue.hpp"
#include "runtime/predict/node_parts.hpp"
#include "runtime/predict/prompt_time.hpp"
#include "runtime/predict/token_work.hpp"
#include "tests/runtime/predict/planned.hpp"

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::runtime::predict;

namespace {

// Reads 100 GB/s whoever reads; everything else takes no time.
MachineSpec memory_alone() {
  MachineSpec m = find_machine("epyc-9554");
  m.read_gb_s = figure(100);
  m.core_gb_s = m.complex_gb_s = figure(1e6);
  m.barrier_us = figure(1e-9);
  for (auto& [type, rates] : m.rates.types) rates = {.one_row = 1e9, .eight_rows = 1e9, .many_rows = 1e9};
  m.rates.words = m.rates.bytes = {};
  return m;
}

}  // namespace

TEST_CASE("what can be read is the least of memory, links and cores") {
  MachineSpec m = find_machine("epyc-9554");
  // 12 channels x 4800 MT/s x 8 bytes, of which 83.5 % are read; 8 links of 55 GB/s; 30 GB/s a core
  CHECK(m.read_bandwidth(64) == close_to(12 * 4.8e9 * 8 * 0.835));
  CHECK(m.read_bandwidth(1) == close_to(30e9));
  CHECK(m.read_bandwidth(4) == close_to(4 * 30e9));
  m.complex_gb_s = figure(20);
  CHECK(m.read_bandwidth(64) == close_to(8 * 20e9));
  CHECK(m.read_bandwidth(4) == close_to(4 * 20e9));  // spread over four complexes
  // Two sockets: half of what a socket reads comes over the link, which gives 120 GB/s: 240 GB/s each.
  CHECK(find_machine("2xepyc-9554").read_bandwidth(128) == close_to(480e9));
  CHECK(NodeParts(find_machine("2xepyc-9554"), 128, 1).read_bandwidth() == close_to(480e9));
  CHECK(NodeParts(find_machine("2xepyc-9554"), 128, 2).read_bandwidth() == close_to(24 * 4.8e9 * 8 * 0.835));
  m.teams = {{2, 50, 0.5}, {4, 90, 1.0}};
  CHECK(m.read_bandwidth(1) == close_to(50e9));
  CHECK(m.read_bandwidth(3) == close_to(70e9));
  CHECK(m.read_bandwidth(64) == close_to(90e9));
  CHECK(m.barrier_seconds(3) == close_to(0.75e-6));
}

TEST_CASE("barriers of two levels, as cpu/NOTES.md counts them") {
  const MachineSpec m = find_machine("epyc-9554");
  CHECK(m.barrier_seconds(1) == 0);
  // 8 members a group at 25 ns, 8 groups and two hand-overs back at 190 ns
  CHECK(m.barrier_seconds(64) == close_to((8 * 25 + 10 * 190) * 1e-9));
  CHECK(find_machine("epyc-9654").barrier_seconds(96) == close_to((8 * 25 + 14 * 190) * 1e-9));
}

TEST_CASE("a weight's time lies on lines through what was measured") {
  KernelRates rates{.clock_ghz = 2};
  rates.types[quant::DType::kQ2_K] = {.one_row = 100, .eight_rows = 160, .many_rows = 200};
  const auto ns = [&](double rows, double clock) { return *rates.ns_per_weight(quant::DType::kQ2_K, rows, clock); };
  CHECK(ns(1, 2) == close_to(0.01));
  CHECK(ns(8, 2) == close_to(0.05));
  CHECK(ns(128, 2) == close_to(0.64));
  CHECK(ns(4.5, 2) == close_to(0.03));
  CHECK(ns(68, 2) == close_to(0.345));
  CHECK(ns(1, 4) == close_to(0.005));  // twice the clock
  CHECK(!rates.ns_per_weight(quant::DType::kQ3_K, 1, 2));
}

TEST_CASE("where only memory takes time, a token takes its bytes over the bandwidth") {
  const Plan plan = planned("deepseek-v3", "ud-q2_k_xl");
  const StepTime step = step_time(plan, memory_alone(), {.n_threads = 64});
  // All weights that a token reads but norms and one row of embeddings, and one cached position.
  CHECK(step.bytes == close_to(plan.bytes_per_token).epsilon(0.001));
  CHECK(step.split.of(Bound::kNodeBandwidth) == close_to(step.bytes / (100e9 * kReadShare)).epsilon(0.001));
  CHECK(step.split.binding() == Bound::kNodeBandwidth);
  CHECK(step.unknown_types.empty());
  // 3 dense layers of 8 phases, 58 of 9, embedding and head: the rest is what every phase pays.
  std::int64_t n_phases = 0;
  for (const PhaseTime& t : step.phases) n_phases += t.n_blocks;
  CHECK(n_phases == 3 * 8 + 58 * 9 + 2);
  const MachineSpec m = memory_alone();
  const double slower = m.rates.clock_ghz / m.clock_ghz.value, n = static_cast<double>(n_phases);
  CHECK(step.split.of(Bound::kSerial) == close_to(kBetweenTokens + n * (kPhaseStart + kFinishRow / 64 + kPulledLines) +
                                                  slower * (58 * kAloneRouting + (n - 58) * kAlonePhase)));
  // Rows share experts: 8 rows read 57 of 256, not 64.
  const StepTime eight = step_time(plan, m, {.n_threads = 64, .n_rows = 8});
  CHECK(eight.bytes == close_to(token_work(plan).step_bytes(expected_experts(256, 8, 8))).epsilon(0.001));
}

TEST_CASE(
    "where links or cores give less than memory, they bind, and the one that has the most to read ends the phase") {
  const Plan plan = planned("deepseek-v3", "ud-q2_k_xl");
  // 129280 rows are 8080 tiles: 96 threads get 84 or 85, 12 complexes of 8 threads 673 or 674.
  const auto head = [&](const MachineSpec& m) {
    for (const PhaseTime& t : step_time(plan, m, {.n_threads = 96}).phases)
      if (t.kind == BlockKind::kHead && t.bytes > 1e8) return t;
    return PhaseTime{};
  };
  MachineSpec m = memory_alone();
  m.complexes = figure(12);
  m.read_gb_s = figure(1000);
  m.complex_gb_s = figure(1);
  const PhaseTime by_link = head(m);
  CHECK(by_link.bound == Bound::kComplexLink);
  CHECK(by_link.worst_complex == close_to(674 * 12 / 8080.0));
  CHECK(by_link.seconds == close_to(by_link.bytes / 8080 * 674 / (1e9 * kReadShare)).epsilon(2e-4));
  m.complex_gb_s = figure(1e6);
  m.core_gb_s = figure(0.1);
  const PhaseTime by_core = head(m);
  CHECK(by_core.bound == Bound::kCoreBandwidth);
  CHECK(by_core.worst_member == close_to(85 * 96 / 8080.0));
  CHECK(by_core.seconds == close_to(by_core.bytes / 8080 * 85 / (1e8 * kReadShare)).epsilon(2e-4));
  // Arithmetic waits for the busiest member too, and stands on memory as the other leg of a right angle.
  m.core_gb_s = figure(1e6);
  m.clock_ghz = figure(m.rates.clock_ghz);
  for (auto& [type, rates] : m.rates.types) rates = {.one_row = 0.1, .eight_rows = 0.1, .many_rows = 0.1};
  const PhaseTime by_products = head(m);
  const double products = 85 * 16 * 7168.0 / 0.1e9, memory = by_products.bytes / (1000e9 * kReadShare);
  CHECK(by_products.bound == Bound::kArithmetic);
  CHECK(by_products.seconds == close_to(std::hypot(products, memory)).epsilon(2e-4));
}

TEST_CASE("where only one kernel's arithmetic takes time, a token takes its products over the rate") {
  const Plan plan = planned("deepseek-v3", "Q4_K");
  MachineSpec m = memory_alone();
  m.read_gb_s = figure(100000);
  m.clock_ghz = figure(m.rates.clock_ghz);
  m.rates.types[quant::DType::kQ4_K] = {.one_row = 10, .eight_rows = 10, .many_rows = 10};
  const StepTime step = step_time(plan, m, {.n_threads = 1});
  // 36.62 G active weights but for the routers', which are F32, and k_b's, whose rows of 128 no block of 256 divides.
  const double products = 36.62e9 - 58.0 * 7168 * 256 - 61.0 * 128 * 128 * 512;
  CHECK(step.split.of(Bound::kArithmetic) == close_to(products / 10e9).epsilon(0.001));
  CHECK(step.split.binding() == Bound::kArithmetic);
}

TEST_CASE("attention over the cache takes its chunks and strips, on the busiest thread") {
  const Plan plan = planned("deepseek-v3", "ud-q2_k_xl");
  MachineSpec m = memory_alone();
  m.read_gb_s = figure(1e5);
  m.near_ns = m.far_ns = figure(0);
  m.clock_ghz = figure(m.rates.clock_ghz / 2);
  m.rates.words.attend = 80;  // us for 8 strips of 16 heads
  const auto attention = [&](int n_threads) {
    return step_time(plan, m, {.n_threads = n_threads, .depth = 4095}).split.of(Bound::kAttention);
  };
  // 61 layers, 4096 positions in 24 chunks of 171 (the last one counts as whole), 8 strips of 10 us for 256, half the
  // clock: 192 units, of which 100 threads get 1 or 2.
  REQUIRE(exec::context_cut(plan.config, 4095).count == 24);
  const double unit = 61 * 171 / 256.0 * 10e-6 * 2 / kAttentionShare;
  CHECK(attention(1) == close_to(192 * unit).epsilon(1e-5));
  CHECK(attention(100) == close_to(2 * unit).epsilon(1e-5));
  for (const PhaseTime& t : step_time(plan, m, {.n_threads = 1, .depth = 4095}).phases) {
    if (t.phase == "attention") CHECK(t.bytes == close_to(4096 * 576 * 2));
  }
  // Sums of each chunk, 512 floats and two more for each of 128 heads, are pulled: 24 lines of 64 bytes in 24 ns.
  m.far_ns = figure(24);
  CHECK(attention(1) == close_to(192 * unit + 61 * 24 * 128 * 514 * 4 / 64e9).epsilon(1e-5));
}

TEST_CASE("attention with grouped queries deals heads and chunks of the context") {
  const ModelConfig c = published_shape("qwen3-30b-a3b");  // 32 query heads, 4 key-value heads of 128 values
  const auto infos = random_weight_infos(c, cli::types_of(cli::parse_recipe("--recipe", "Q4_K"), c));
  const auto plan = [&](int n_parts) {
    return make_plan(c, infos, {}, {}, {.isa = cpu::Isa::kScalar, .shares = equal_shares(n_parts)});
  };
  MachineSpec m = find_machine("epyc-9554");
  m.core_gb_s = m.complex_gb_s = m.read_gb_s = figure(1e9);
  m.clock_ghz = figure(m.rates.clock_ghz);
  const auto attention = [&](const MachineSpec& on, int n_threads, StepRequest request, int n_parts = 1) {
    request.n_threads = n_threads;
    request.depth = 4095;
    for (const PhaseTime& t : step_time(plan(n_parts), on, request).phases)
      if (t.phase == "attention") return t;
    return PhaseTime{};
  };
  // 32 chunks of 128 positions for each of 4 heads: keys and values of 128 numbers decoded, and 8 heads' products.
  REQUIRE(exec::grouped_cut(c, 0, 4095).count == 32);
  const double unit = 128 * 256 *
                      (kDecodeCycles / m.rates.clock_ghz +
                       8 / (m.rates.types.at(quant::DType::kF32).eight_rows * kFloatAttentionShare)) *
                      1e-9 / kAttentionShare;
  const double paid = m.barrier_seconds(64) + kPhaseStart + kFinishRow / 64 + kAlonePhase + kPulledLines;
  const PhaseTime one = attention(m, 64, {});
  CHECK(one.bound == Bound::kAttention);
  CHECK(one.worst_member == close_to(1));
  CHECK(one.seconds == close_to(2 * unit + paid));
  CHECK(one.bytes == close_to(4.0 * 4096 * 256 * 2));
  CHECK(attention(m, 96, {}).worst_member == close_to(2 * 96 / 128.0));
  // Each type counts for what it is.
  CHECK(attention(m, 64, {.cache_type = quant::DType::kF16, .value_cache_type = quant::DType::kI8}).bytes ==
        close_to(4.0 * 4096 * (256 + 136)));
  CHECK(attention(m, 64, {.cache_type = quant::DType::kI8}).seconds < one.seconds);
  // By parts each node's members have their own heads' rows.
  const PhaseTime both = attention(find_machine("2xepyc-9554"), 128, {}, 2);
  CHECK(both.worst_member == close_to(1));
  CHECK(both.bytes == close_to(one.bytes));
}

TEST_CASE("windows count the positions that they show") {
  ModelConfig c = published_shape("qwen3-30b-a3b");
  set_layers(c, 0, 4);
  for (const std::int64_t layer : {0, 2}) c.layers[static_cast<std::size_t>(layer)].window = 128;
  const auto infos = random_weight_infos(c, cli::types_of(cli::parse_recipe("--recipe", "Q4_K"), c));
  const Plan plan = make_plan(c, infos, {}, {}, {.isa = cpu::Isa::kScalar});
  const MachineSpec m = find_machine("epyc-9554");
  std::vector<double> bytes;
  for (const PhaseTime& t : step_time(plan, m, {.n_threads = 8, .depth = 8191}).phases) {
    if (t.phase != "attention") continue;
    CHECK(t.n_blocks == 2);
    bytes.push_back(t.bytes);
  }
  CHECK(bytes == std::vector<double>{128.0 * 2048, 8192.0 * 2048});
  ModelConfig full = c;
  for (LayerConfig& layer : full.layers) layer.window = 0;
  const Plan without = make_plan(full, infos, {}, {}, {.isa = cpu::Isa::kScalar});
  const PromptRequest request{.n_threads = 8, .n_rows = 512, .depth = 8192};
  CHECK(prompt_time(plan, m, request).of(Bound::kAttention) <
        0.6 * prompt_time(without, m, request).of(Bound::kAttention));
}

TEST_CASE("prompts' attention takes whole rounds of heads") {
  const Plan plan = planned("deepseek-v3", "ud-q2_k_xl");
  MachineSpec m = memory_alone();
  m.clock_ghz = figure(m.rates.clock_ghz / 2);
  m.rates.words.prompt = 512;  // us for 512 rows over 256 positions: 1 us a row
  const auto attention = [&](int n_threads) {
    return prompt_time(plan, m, {.n_threads = n_threads, .n_rows = 512}).of(Bound::kAttention);
  };
  // A row sees one chunk on average and half of its own: 768 us a head at the clock of the rates, twice that here.
  CHECK(attention(1) == close_to(61 * 128 * 768e-6 * 2));
  CHECK(attention(100) == close_to(61 * 2 * 768e-6 * 2));  // 28 threads have a second head, the others wait
}

TEST_CASE("sparse attention costs nothing up to its choice, and little beyond") {
  Plan sparse = planned("glm-5", "ud-q2_k_xl");
  ModelConfig config = sparse.config;
  config.indexer = {};
  const TypeOf types = [&](const WantedWeight& wanted) {
    const auto same = std::ranges::find(sparse.weights, wanted.id, &WeightPlan::id);
    return same->dtype;
  };
  const Plan dense = make_plan(config, random_weight_infos(config, types), {}, sparse.machine, sparse.options);
  const auto at = [](const Plan& plan, std::int64_t depth) {
    return predict::predict(plan, find_machine("epyc-9554"), std::nullopt, {.depths = {depth}}).points.front();
  };
  CHECK(at(sparse, 1000).tokens_per_s == close_to(at(dense, 1000).tokens_per_s).epsilon(0.02));
  CHECK(at(sparse, 32768).tokens_per_s > 1.4 * at(dense, 32768).tokens_per_s);
  CHECK(at(sparse, 32768).prompt_per_s > 2 * at(dense, 32768).prompt_per_s);
  CHECK(at(sparse, 100000).tokens_per_s < at(sparse, 32768).tokens_per_s);  // all positions are scored
}

TEST_CASE("more bandwidth is never slower, more context never faster") {
  for (const char* shape : {"deepseek-v3", "kimi-k2", "glm-5", "deepseek-v2-lite"}) {
    const Plan plan = planned(shape, "ud-q2_k_xl");
    for (const char* name : {"epyc-7763", "epyc-9554", "2xepyc-9554", "epyc-9175f"}) {
      CAPTURE(shape);
      CAPTURE(name);
      MachineSpec m = find_machine(name);
      const auto at = [&](std::int64_t depth) {
        return predict::predict(plan, m, std::nullopt, {.depths = {depth}}).points.front();
      };
      double tokens = 1e9, prompts = 1e9;
      for (const std::int64_t depth : {0, 100, 1000, 4096, 16384, 32768, 100000}) {
        CAPTURE(depth);
        const DepthPoint point = at(depth);
        // A short context has few chunks, and a small model few heads: they may be dealt less evenly than more of them.
        const bool few = depth <= 1000 || plan.config.n_heads < 64;
        CHECK(point.tokens_per_s <= tokens * (few ? 1.08 : 1.0));
        // Under sparse attention prompt rows cost most where their choice is masked, just before each gathers its own.
        CHECK(point.prompt_per_s <= prompts * (plan.config.indexer.n_heads > 0 ? 1.15 : 1.0));
        tokens = std::min(tokens, point.tokens_per_s);
        prompts = point.prompt_per_s;
      }
      tokens = 0;
      for (const double mt : {1000, 2400, 3200, 4800, 6400, 12800}) {
        m.mt_per_s = figure(mt);
        const DepthPoint point = at(0);
        CHECK(point.tokens_per_s >= tokens);
        tokens = point.tokens_per_s;
      }
    }
  }
}

TEST_CASE("a prediction asks for what was asked") {
  const Plan plan = planned("deepseek-v3", "ud-q2_k_xl");
  const MachineSpec m = find_machine("epyc-9554");
  const PredictionRequest request{
      .n_threads = 32, .n_prompt_threads = 64, .n_parallel = 2, .micro_batch = 512, .context = 5000};
  const Prediction p = predict::predict(plan, m, std::nullopt, request);
  REQUIRE(p.points.size() == 2);  // 16k and 32k are deeper than the context
  CHECK(p.points[1].depth == 4096);
  const double step = step_time(plan, m, {.n_threads = 32, .depth = 4096, .n_rows = 2}).seconds(),
               prompt = prompt_time(plan, m, {.n_threads = 64, .n_rows = 512, .depth = 4096}).sum();
  CHECK(p.points[1].tokens_per_s == close_to(2 / step));
  CHECK(p.points[1].prompt_per_s == close_to(512 / prompt));
}

TEST_CASE("sequences that generate together share what they read") {
  const Plan plan = planned("deepseek-v3", "ud-q2_k_xl");
  const MachineSpec m = find_machine("epyc-9554");
  double all = 0, one = 0;
  for (const std::int64_t n : {1, 2, 4, 8, 16}) {
    CAPTURE(n);
    const Prediction p = predict::predict(plan, m, std::nullopt, {.n_parallel = n, .depths = {0}});
    CHECK(p.points.front().tokens_per_s > all);
    all = p.points.front().tokens_per_s;
    if (n == 1) one = all;
    CHECK(all <= one * static_cast<double>(n));
  }
}

TEST_CASE("a card takes what every token reads") {
  const Plan plan = planned("deepseek-v3", "ud-q2_k_xl");
  const MachineSpec m = find_machine("epyc-9554");
  const Prediction alone = predict::predict(plan, m, std::nullopt, {.depths = {0}});
  double before = alone.points.front().tokens_per_s;
  for (const char* name : {"rtx-3090", "rtx-4090", "rtx-5090"}) {
    CAPTURE(name);
    const CardSpec card = find_card(name);
    Plan placed = plan;
    const device::Offload offload = device::place_blocks(placed, card.device(), {}, {});
    REQUIRE(offload.any());
    const Prediction p = predict::predict(plan, m, CardPlan{card, placed, offload}, {.depths = {0}});
    const DepthPoint& point = p.points.front();
    CHECK(offload.micro_batch < 2048);
    CHECK(p.micro_batch == offload.micro_batch);
    CHECK(point.tokens_per_s > before);
    before = point.tokens_per_s;
    // What is left to memory are the routed experts: 58 layers of 8 of 256, but those on the card.
    CHECK(point.step.bytes < 0.5 * alone.points.front().step.bytes);
    CHECK(point.step.card_bytes > 8e9);
    CHECK(point.step.card_bytes + point.step.bytes == close_to(alone.points.front().step.bytes).epsilon(0.02));
  }
}

TEST_CASE("beside a card, a layer takes the slower side, and the way there and back") {
  const Plan plan = planned("deepseek-v3", "ud-q2_k_xl");
  const MachineSpec m = memory_alone();
  CardSpec card = find_card("rtx-4090");
  card.launch_us = figure(5);
  card.round_trip_us = figure(20);
  card.link_gb_s = figure(40);
  card.link_share = figure(0.5);
  card.f16_tflops = figure(0.1);
  card.compute_share = figure(0.5);
  Plan placed = plan;
  const device::Offload offload = device::place_blocks(placed, card.device(), {}, {});
  REQUIRE(offload.n_layers == 61);
  const int here = static_cast<int>(offload.n_expert_layers), there = 58 - here;  // layers of experts
  int others = 0;
  for (const BlockPlan& block : placed.blocks)
    others +=
        block.place == Place::kDevice && block.kind != BlockKind::kMlaAttention && block.kind != BlockKind::kMoeFfn;
  // Where the processors have the experts, at 100 GB/s, the card's shared one hides behind them.
  const TimeSplit step = step_time_with_card(plan, placed, m, card, 1152, {.n_threads = 64, .depth = 999}).split;
  CHECK(step.of(Bound::kCardLink) == close_to(there * 20e-6));
  CHECK(step.of(Bound::kCardLaunches) ==
        close_to((61 * kCardAttentionKernels + (others + 2 * here) * kCardFfnKernels) * 5e-6));
  CHECK(step.of(Bound::kCardArithmetic) == close_to(61 * 2.0 * 1000 * 128 * 1088 / 0.05e12));
  // Prompts: 64 rows of floats each way at 20 GB/s, where the processors are slower.
  card.f16_tflops = figure(1e6);
  const TimeSplit pass = card_prompt(plan, {placed, card, offload}, m, {.n_threads = 64, .n_rows = 64}).split;
  CHECK(pass.of(Bound::kCardLink) == close_to(there * (20e-6 + 2 * 64 * 7168 * 4 / 20e9)));
}

TEST_CASE("a prompt's products take their time, and a deep context its attention") {
  const Plan plan = planned("deepseek-v3", "ud-q2_k_xl");
  const MachineSpec m = find_machine("epyc-9554");
  const TimeSplit flat = prompt_time(plan, m, {.n_threads = 64, .n_rows = 2048});
  CHECK(flat.binding() == Bound::kArithmetic);
  // 36.6 G products a row less the head's 0.9, on 64 threads of some 150 GMAC/s: 2048 rows take 8 to 11 s.
  CHECK(flat.sum() > 6);
  CHECK(flat.sum() < 12);
  const TimeSplit deep = prompt_time(plan, m, {.n_threads = 64, .n_rows = 2048, .depth = 32768});
  CHECK(deep.binding() == Bound::kAttention);
  CHECK(deep.of(Bound::kArithmetic) == close_to(flat.of(Bound::kArithmetic)));
}
