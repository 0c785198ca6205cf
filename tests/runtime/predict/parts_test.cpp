// Parts on memory nodes: the time of a step by its terms, each worked out by hand.
#include <doctest/doctest.h>

#include <algorithm>

#include "runtime/predict/calibration.hpp"
#include "runtime/predict/catalogue.hpp"
#include "runtime/predict/node_parts.hpp"
#include "runtime/predict/prediction.hpp"
#include "runtime/predict/prompt_time.hpp"
#include "tests/runtime/predict/planned.hpp"

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::runtime::predict;

namespace {

double tokens(const Plan& plan, const MachineSpec& machine) {
  return predict::predict(plan, machine, std::nullopt, {.depths = {0}}).points.front().tokens_per_s;
}

}  // namespace

TEST_CASE("a node of a machine has its share of it") {
  const NodeParts nps4(find_machine("2xepyc-9554:nps4"), 128, 8);
  CHECK(nps4.node().n_cores() == 16);
  CHECK(nps4.node().n_complexes() == 2);
  CHECK(nps4.node().channels.value == 3);
  CHECK(nps4.members(7).begin == 112);
  CHECK(nps4.members(7).end == 128);
  CHECK(nps4.read_bandwidth() == close_to(24 * 4.8e9 * 8 * 0.835));
  // What was measured on one socket is divided; on several, it crossed their links and says nothing.
  CHECK(NodeParts(find_machine("epyc-9965:nps4:read275"), 192, 4).read_bandwidth() == close_to(275e9));
  // One part is the machine as it is.
  CHECK(NodeParts(find_machine("2xepyc-9554"), 128, 1).machine_barrier_seconds() ==
        find_machine("2xepyc-9554").barrier_seconds(128));
}

TEST_CASE("an exchange takes its first lines' way, and all lines or the links") {
  MachineSpec m = find_machine("2xepyc-9554");
  // 3 links of 32 GT/s in 16 lanes, of which 62.5 % are reached: 120 GB/s.
  CHECK(m.link_gb_s() == close_to(120));
  // Columns of one row: each of two nodes takes half from the other. Sums: half of the other's, then half of the results.
  CHECK(NodeParts(m, 128, 2).exchange_seconds({28672, 1}) == close_to(280e-9 + 14336 / 120e9));
  CHECK(NodeParts(m, 128, 2).exchange_seconds({28672, 2}) == close_to(560e-9 + 28672 / 120e9));
  // Wide links: 64 members pull 24 lines of 64 bytes at once each.
  m.link_count.value = 64;
  CHECK(NodeParts(m, 128, 2).exchange_seconds({28672, 2}) == close_to(560e-9 + 28672.0 / 64 / (64 * 24) * 280e-9));
  // Eight parts on two sockets: four nodes take an eighth from each of four over the links, twice.
  CHECK(NodeParts(find_machine("2xepyc-9554:nps4"), 128, 8).exchange_seconds({28672, 2}) ==
        close_to(560e-9 + 2.0 * 4 * 4 * 28672 / 8 / 120e9));
  m = find_machine("epyc-9554:nps4");
  CHECK(NodeParts(m, 64, 4).exchange_seconds({28672, 2}) ==
        close_to(380e-9 + 2 * 3 * 28672.0 / 4 / 16 / (64 * 24) * 190e-9));
  CHECK(NodeParts(m, 64, 1).exchange_seconds({28672, 2}) == 0);
  CHECK(find_machine("2xxeon-6980p").link_gb_s() == 248);  // measured: takes the place of links
}

TEST_CASE("two sockets by parts: memory halves, four exchanges and machine-wide barriers in a layer") {
  const Plan one = planned("deepseek-v3", "ud-q2_k_xl"), two = planned_parts("deepseek-v3", "ud-q2_k_xl", 2);
  MachineSpec m = find_machine("2xepyc-9554"), socket = find_machine("epyc-9554");
  for (MachineSpec* spec : {&m, &socket}) {
    for (auto& [type, rates] : spec->rates.types) rates = {.one_row = 1e9, .eight_rows = 1e9, .many_rows = 1e9};
    spec->rates.words = {};
    spec->core_gb_s.value = spec->complex_gb_s.value = 1e6;
  }
  const StepTime parts = step_time(two, m, {.n_threads = 128}), alone = step_time(one, socket, {.n_threads = 64});
  CHECK(parts.bytes == close_to(alone.bytes).epsilon(1e-5));  // a position of the cache is read twice
  CHECK(2 * parts.split.of(Bound::kNodeBandwidth) == close_to(alone.split.of(Bound::kNodeBandwidth)).epsilon(1e-4));
  // 8 members a group at 25 ns, 8 groups of a node and two hand-overs back at 190 ns; two nodes and two at 280 ns. Of 9
  // phases of a layer with experts 4 end for all, of 8 of a dense one 3; embedding and head.
  const double node = 2100e-9, all = node + 4 * 280e-9;
  CHECK(parts.split.of(Bound::kBarriers) == close_to((58 * 4 + 3 * 3 + 2) * all + 61 * 5 * node));
  // q_a and kv_a, 1536 + 576 floats; the output projection and what feed-forward gives, 7168; the router, 256.
  // The first and the last are columns of one row, the others sums.
  const auto exchanges = [](double rows) {
    const auto columns = [&](double values) { return 280e-9 + rows * values * 4 / 2 / 120e9; };
    const double sums = 560e-9 + rows * 7168 * 4 / 120e9;
    return 61 * (columns(2112) + 2 * sums) + 58 * columns(256);
  };
  CHECK(parts.split.of(Bound::kExchange) == close_to(exchanges(1)));
  CHECK(alone.split.of(Bound::kExchange) == 0);
  for (const PhaseTime& t : parts.phases) CHECK(t.worst_part == close_to(1));
  // Eight rows exchange eight times as much, and the first lines' way once.
  const StepTime eight = step_time(two, m, {.n_threads = 128, .n_rows = 8});
  CHECK(eight.split.of(Bound::kExchange) == close_to(exchanges(8)));
}

TEST_CASE("two sockets of 9554 by parts: at least 1.6 times one of them") {
  const Plan one = planned("deepseek-v3", "ud-q2_k_xl"), two = planned_parts("deepseek-v3", "ud-q2_k_xl", 2);
  for (const char* name : {"epyc-9554", "epyc-9654", "epyc-9755"}) {
    CAPTURE(name);
    const double alone = tokens(one, find_machine(name)), parts = tokens(two, find_machine("2x" + std::string(name))),
                 interleaved = tokens(one, find_machine("2x" + std::string(name)));
    CHECK(parts >= 1.6 * alone);
    CHECK(parts < 2 * alone);
    CHECK(interleaved > alone);
    CHECK(parts > 1.2 * interleaved);
  }
}

TEST_CASE("a phase takes as long as its slowest part") {
  // 16 nodes, but 8 units of columns in an expert: whole experts are dealt, and some node has two of a row's 8.
  const Plan plan = planned_parts("deepseek-v3", "ud-q2_k_xl", 16);
  MachineSpec m = find_machine("2xepyc-9554:nps8");
  m.core_gb_s.value = m.complex_gb_s.value = 1e6;
  for (auto& [type, rates] : m.rates.types) rates = {.one_row = 1e9, .eight_rows = 1e9, .many_rows = 1e9};
  for (const PhaseTime& t : step_time(plan, m, {.n_threads = 128}).phases) {
    if (t.phase != "gate, up") continue;
    CHECK(t.worst_part >= 4);  // two of eight where the mean is half a one
    const double of_node = t.worst_part * t.bytes / 16, bandwidth = 1.5 * 4.8e9 * 8 * 0.835 * kReadShare;
    CHECK(t.bound == Bound::kNodeBandwidth);
    CHECK(t.seconds > of_node / bandwidth);
    CHECK(t.seconds < of_node / bandwidth + 10e-6);
  }
}

TEST_CASE("prompts by parts: the same products, both nodes' memory, and what rows exchange") {
  const Plan one = planned("deepseek-v3", "ud-q2_k_xl"), two = planned_parts("deepseek-v3", "ud-q2_k_xl", 2);
  const MachineSpec m = find_machine("2xepyc-9554");
  const PromptRequest request{.n_threads = 128, .n_rows = 2048};
  const TimeSplit parts = prompt_time(two, m, request), whole = prompt_time(one, m, request);
  CHECK(parts.of(Bound::kArithmetic) < whole.of(Bound::kArithmetic) * 1.01);
  CHECK(parts.of(Bound::kArithmetic) > whole.of(Bound::kArithmetic) * 0.85);
  CHECK(parts.of(Bound::kAttention) == close_to(whole.of(Bound::kAttention)));
  const double rows = 2048 * 4 / 120e9;
  CHECK(parts.of(Bound::kExchange) ==
        close_to((61 * (2112.0 / 2 + 2 * 7168) + 58 * 256.0 / 2) * rows + (61 * 5 + 58) * 280e-9));
}

TEST_CASE("any shape in any number of parts reads its bytes, and is predicted") {
  for (const char* shape : {"deepseek-v3", "kimi-k2", "glm-5", "deepseek-v2-lite"}) {
    const double whole = step_time(planned(shape, "ud-q2_k_xl"), find_machine("epyc-9554"), {.n_threads = 64}).bytes;
    for (const int n_parts : {2, 3, 8}) {
      CAPTURE(shape);
      CAPTURE(n_parts);
      const Plan plan = planned_parts(shape, "ud-q2_k_xl", n_parts);
      MachineSpec m = find_machine("epyc-9554");
      m.nodes_per_socket.value = n_parts;
      const StepTime step = step_time(plan, m, {.n_threads = 64});
      // Each part has a row of the cache, and pieces of few columns are rounded up.
      CHECK(step.bytes == close_to(whole).epsilon(5e-3));
      for (const PhaseTime& t : step.phases) {
        CAPTURE(t.phase);
        CHECK(t.worst_part >= 1 - 1e-9);
        CHECK(t.worst_part <= n_parts + 1e-9);
      }
      CHECK(step.seconds() > 0);
      CHECK(prompt_time(plan, m, {.n_threads = 64, .n_rows = 512}).sum() > 0);
    }
  }
}
