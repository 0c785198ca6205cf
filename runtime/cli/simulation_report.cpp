// A simulation as text, JSON and a picture.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <nlohmann/json.hpp>

#include "runtime/cli/simulation.hpp"

namespace dodeca::runtime::cli {
namespace {

using device::StreamActor;
using device::StreamStep;
using device::StreamWork;

struct WorkFacts {
  const char *name, *colour;
};
constexpr WorkFacts kFacts[] = {{"attention, router, rows to memory", "#2471a3"},
                                {"shared expert", "#5dade2"},
                                {"copy", "#af601a"},
                                {"streamed experts", "#1e8449"},
                                {"experts in memory", "#6c3483"},
                                {"sums from memory", "#7b7d7d"}};
static_assert(std::size(kFacts) == device::kStreamWorks);
const WorkFacts& facts_of(StreamWork work) { return kFacts[static_cast<std::size_t>(work)]; }
constexpr std::array kActors = {"link", "card", "processors"};

std::string depth_name(std::int64_t depth) { return depth == 0 ? "0" : fmt::format("{}k", depth / 1024); }

// Begin and end of the steps that belong to some layers.
std::pair<double, double> span_of(const predict::CardPrompt& pass, std::int64_t first, std::int64_t end) {
  double begin = 1e30, last = 0;
  for (std::size_t i = 0; i < pass.steps.size(); ++i) {
    if (pass.steps[i].layer < first || pass.steps[i].layer >= end || pass.steps[i].work == StreamWork::kCopy) continue;
    begin = std::min(begin, pass.spans[i].begin);
    last = std::max(last, pass.spans[i].end);
  }
  return {begin, last};
}

std::int64_t n_layers(const predict::CardPrompt& pass) { return pass.steps.empty() ? 0 : pass.steps.back().layer + 1; }

std::string steps_text(const Simulation& s) {
  const std::int64_t layer = n_layers(s.pass) / 2;
  const auto [begin, end] = span_of(s.pass, layer, layer + 1);
  std::string text = fmt::format(
      "\nthe steps of a layer in the middle, {} rows (ms from its beginning; step: what it waits for of other "
      "actors):\n",
      s.pass_rows);
  for (std::size_t i = 0; i < s.pass.steps.size(); ++i) {
    const StreamStep& step = s.pass.steps[i];
    if (step.layer != layer) continue;
    std::string after;
    for (const std::size_t awaited : step.after)
      after += fmt::format("{}{}", after.empty() ? " after " : ", ", awaited);
    text += fmt::format("  {:>5} {:<11} {:>8.2f} to {:>8.2f}  {}{}{}\n", i,
                        kActors[static_cast<std::size_t>(step.actor)], 1e3 * (s.pass.spans[i].begin - begin),
                        1e3 * (s.pass.spans[i].end - begin), facts_of(step.work).name,
                        step.wave >= 0 ? fmt::format(", wave {}, buffer {}", step.wave, step.buffer) : "", after);
  }
  return text;
}

}  // namespace

std::string simulation_text(const Simulation& s, bool verbose) {
  const predict::Prediction& q = s.predicted.prediction;
  std::string text = fmt::format(
      "\nsimulated, not measured: a prompt of {} tokens, tokens/s by rows of a pass (-ub) and depth\n", s.n_prompt);
  text += fmt::format("{:>8}", "-ub");
  for (const std::int64_t depth : s.depths) text += fmt::format(" {:>9}", "@" + depth_name(depth));
  text += fmt::format("  {:<18} {}\n", "bound by @0", "experts of a layer that stream");
  for (std::size_t u = 0; u < s.micro_batches.size(); ++u) {
    text += fmt::format("{:>8}", s.micro_batches[u]);
    for (std::size_t d = 0; d < s.depths.size(); ++d) text += fmt::format(" {:>9.1f}", s.at(u, d).tokens_per_s);
    text += fmt::format("  {:<18} {:.0f}\n", name_of(s.at(u, 0).bound), s.at(u, 0).streamed_experts);
  }
  text += fmt::format("without streaming: {:.1f} tokens/s at depth 0\n", s.without_streaming);
  text += s.least_rows < 0 ? "experts do not stream: it gains nothing in any pass\n"
                           : fmt::format("experts stream in passes of {} rows and more\n", s.least_rows);
  if (!s.pass.steps.empty()) {
    const double seconds = s.pass.spans.back().end;
    text += fmt::format(
        "a pass of {} rows takes {:.2f} s: the link works {:.0f} % of it, the card {:.0f} %, the processors "
        "{:.0f} % at experts\n",
        s.pass_rows, seconds, 100 * s.pass.busy[0] / seconds, 100 * s.pass.busy[1] / seconds,
        100 * s.pass.busy[2] / seconds);
  }
  text += "generated tokens/s:";
  for (const predict::DepthPoint& point : q.points)
    text += fmt::format(" @{} {:.1f};", depth_name(point.depth), point.tokens_per_s);
  text.back() = '\n';
  if (verbose && !s.pass.steps.empty()) text += steps_text(s);
  return text;
}

Json simulation_json(const Simulation& s) {
  Json prompts = Json::array();
  for (const SimulatedPrompt& p : s.prompts)
    prompts.push_back({{"rows_per_pass", p.micro_batch},
                       {"depth", p.depth},
                       {"tokens_per_s", p.tokens_per_s},
                       {"bound", key_of(p.bound)},
                       {"streamed_experts", p.streamed_experts}});
  return {{"kind", "simulated"},
          {"prompt_tokens", s.n_prompt},
          {"prompts", std::move(prompts)},
          {"without_streaming", s.without_streaming},
          {"least_streamed_rows", s.least_rows},
          {"pass_rows", s.pass_rows},
          {"link_busy_s", s.pass.busy[0]},
          {"card_busy_s", s.pass.busy[1]},
          {"processors_busy_s", s.pass.busy[2]}};
}

std::string simulation_plot(const std::string& model, const Simulation& s) {
  constexpr double kWidth = 1100, kLeft = 90, kRight = 40, kTop = 50, kBar = 34, kGap = 14;
  constexpr std::int64_t kShown = 3;
  const std::int64_t first = std::max<std::int64_t>(0, n_layers(s.pass) / 2 - 1);
  const auto [begin, end] = s.pass.steps.empty() ? std::pair{0.0, 1.0} : span_of(s.pass, first, first + kShown);
  const double bottom = kTop + 3 * (kBar + kGap), scale = (kWidth - kLeft - kRight) / (end - begin);
  const auto x = [&](double t) { return kLeft + (std::clamp(t, begin, end) - begin) * scale; };
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n<text x=\"{2}\" y=\"20\">{3}, {4}, {5}: a pass of {6} "
      "rows, {7} "
      "layers of it; simulated, not measured</text>\n",
      kWidth, bottom + 100, kLeft, model, s.predicted.prediction.machine.title,
      s.predicted.prediction.card ? s.predicted.prediction.card->title : "", s.pass_rows, kShown);
  for (std::size_t a = 0; a < kActors.size(); ++a)
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kLeft - 8,
                       kTop + static_cast<double>(a) * (kBar + kGap) + kBar / 2 + 4, kActors[a]);
  for (std::size_t i = 0; i < s.pass.steps.size(); ++i) {
    const StreamStep& step = s.pass.steps[i];
    const auto [from, to] = s.pass.spans[i];
    if (to <= begin || from >= end || to - from < 1e-9) continue;
    svg += fmt::format(
        "<rect x=\"{:.2f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\" fill=\"{}\" stroke=\"white\" "
        "stroke-width=\"0.5\"/>\n",
        x(from), kTop + static_cast<double>(step.actor) * (kBar + kGap), x(to) - x(from), kBar,
        facts_of(step.work).colour);
  }
  for (int tick = 0; tick <= 8; ++tick) {
    const double t = begin + (end - begin) * tick / 8;
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.0f} ms</text>\n", x(t), bottom + 16,
                       1e3 * (t - begin));
  }
  double at = kLeft;
  for (const StreamWork work : {StreamWork::kCopy, StreamWork::kRoute, StreamWork::kShared, StreamWork::kMultiply,
                                StreamWork::kMerge, StreamWork::kExperts}) {
    const WorkFacts& facts = facts_of(work);
    svg += fmt::format(
        "<rect x=\"{0}\" y=\"{1}\" width=\"12\" height=\"12\" fill=\"{2}\"/><text x=\"{3}\" y=\"{4}\">{5}</text>\n", at,
        bottom + 40, facts.colour, at + 18, bottom + 51, facts.name);
    at += 40 + 7 * static_cast<double>(std::string(facts.name).size());
  }
  return svg + "</svg>\n";
}

}  // namespace dodeca::runtime::cli
