#include "runtime/cli/two_sockets_report.hpp"

#include <fmt/core.h>

#include "runtime/cli/plan_prediction.hpp"

namespace dodeca::runtime::cli {
namespace {

using predict::Bound;
using predict::DepthPoint;
using predict::TimeSplit;

constexpr const char* kProcessors[] = {"epyc-9554", "epyc-9654", "epyc-9755"};
constexpr const char* kNodes[] = {"", ":nps2", ":nps4"};

// The terms of a token, in ms.
std::string terms_row(const TimeSplit& split) {
  const double reading =
      split.of(Bound::kNodeBandwidth) + split.of(Bound::kComplexLink) + split.of(Bound::kCoreBandwidth);
  std::string text;
  for (const double seconds : {reading, split.of(Bound::kArithmetic), split.of(Bound::kAttention),
                               split.of(Bound::kExchange), split.of(Bound::kBarriers), split.of(Bound::kSerial)})
    text += fmt::format(" {:.2f} |", 1e3 * seconds);
  return text;
}

std::string row(const PredictedPlan& plan) {
  const predict::Prediction& p = plan.prediction;
  const DepthPoint& first = p.points.front();
  std::string text = fmt::format("| {} | {} | {:.0f} |", p.machine.title, p.n_parts, p.read_bandwidth() / 1e9) +
                     terms_row(first.step.split);
  for (const DepthPoint& point : p.points) text += fmt::format(" {:.1f} |", point.tokens_per_s);
  text += p.one_socket ? fmt::format(" {:.2f} |", first.tokens_per_s / p.one_socket->tokens_per_s) : " |";
  text += fmt::format(" {:.0f} |", first.prompt_per_s);
  text += p.power ? fmt::format(" {:.0f} |", p.power->joules(first.tokens_per_s)) : " |";
  return text + "\n";
}

}  // namespace

std::string two_sockets_text(const std::string& shape, const std::string& recipe) {
  std::string rows;
  for (const char* processor : kProcessors) {
    for (const std::string sockets : {"", "2x"}) {
      for (const char* nodes : kNodes) rows += row(predict_shape(shape, recipe, sockets + processor + nodes, {}));
    }
    PredictedPlan interleaved = predict_shape(shape, recipe, fmt::format("2x{}", processor), {.numa = "interleave"});
    interleaved.prediction.machine.title += ", interleaved (--numa interleave)";
    rows += row(interleaved);
  }
  return fmt::format(
      "## Two sockets: predicted, nobody has measured them\n\n"
      "The same model and cache. Each memory node has a part of every weight and a copy of the cache, and its cores "
      "work on that part alone (`--numa auto`). nps2, nps4: the BIOS makes two or four memory nodes of a socket. Four "
      "times in a layer results of all parts come together: q_a and kv_a (8 KiB for a row), the sum of the output "
      "projection (28), the router (1), and the sum of what the experts give (28).\n\n"
      "| machine | parts | GB/s read | memory ms | arithmetic | attention | exchanges | barriers | serial | tg @0 | tg "
      "@4k | tg @16k | tg @32k | of one socket | pp @0 | J/token |\n"
      "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n{}\n"
      "The terms are those of one generated token at depth 0, in ms. Of one socket: tg @0 against one socket with "
      "nodes of the same size. J/token: estimate from TDP, for sockets and memory as if they drew it all the time; "
      "without fans, disks and the power supply's losses.\n\n"
      "What this rests on: an exchange takes a cache line's way between sockets (assumed: 280 ns) once for columns and "
      "twice for sums, and its bytes over three links (assumed: 120 to 145 GB/s of 192). A socket is said to read a "
      "few per cent more with nps2 and nps4; that does not count here. Deep in a context two sockets gain less: "
      "attention is dealt in units of 16 heads and a piece of the context, of which there are not many more than "
      "cores.\n\n",
      rows);
}

}  // namespace dodeca::runtime::cli
