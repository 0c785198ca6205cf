#include "runtime/cli/prediction_report.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "runtime/predict/machine_file.hpp"

namespace dodeca::runtime::cli {
namespace {

using predict::Bound;
using predict::DepthPoint;
using predict::Figure;
using predict::MachineSpec;
using predict::PhaseTime;
using predict::PowerEstimate;
using predict::Prediction;
using predict::TimeSplit;

double per_cent(double part, double all) { return all > 0 ? 100 * part / all : 0; }

std::string depth_text(std::int64_t depth) {
  return depth % 1024 == 0 && depth > 0 ? fmt::format("{}k", depth / 1024) : std::to_string(depth);
}

// All figures of a machine or a card that are known, with their sources.
template <class Spec>
std::string figures_text(const Spec& spec, std::span<const predict::FigureKey<Spec>> keys) {
  std::string text;
  for (const auto& key : keys) {
    const Figure& figure = spec.*key.figure;
    if (figure.known())
      text +=
          fmt::format("  {:<36} {:>9g}  {}: {}\n", key.meaning, figure.value, name_of(figure.evidence), figure.source);
  }
  return text;
}
template <class Spec>
void append_figures(Json& json, const Spec& spec, std::span<const predict::FigureKey<Spec>> keys) {
  for (const auto& key : keys) {
    const Figure& figure = spec.*key.figure;
    if (figure.known())
      append_key(json, std::string(key.key),
                 {{"value", figure.value}, {"evidence", name_of(figure.evidence)}, {"source", figure.source}});
  }
}

// Dense layers and layers with experts have the same name elsewhere.
std::string_view kind_text(BlockKind kind) {
  if (kind == BlockKind::kMoeFfn) return "experts";
  return kind == BlockKind::kDenseFfn ? "dense layers" : name_of(kind);
}

std::string split_text(const TimeSplit& split) {
  std::vector<std::pair<double, Bound>> terms;
  for (std::size_t i = 0; i < split.seconds.size(); ++i) {
    if (split.seconds[i] > 0) terms.emplace_back(split.seconds[i], static_cast<Bound>(i));
  }
  std::ranges::sort(terms, [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string text;
  for (const auto& [seconds, bound] : terms)
    text += fmt::format("{}{} {:.2f} ms ({:.0f} %)", text.empty() ? "" : ", ", name_of(bound), 1e3 * seconds,
                        per_cent(seconds, split.sum()));
  return text;
}

std::string depths_table(const Prediction& p) {
  std::string text = fmt::format("{:>8} {:>12} {:>12}  {:<20} {:>12}  {}\n", "depth", "tokens/s", "ms a step",
                                 "bound by", "prompt t/s", "bound by");
  for (const DepthPoint& point : p.points)
    text += fmt::format("{:>8} {:>12.2f} {:>12.2f}  {:<20} {:>12.1f}  {}\n", depth_text(point.depth),
                        point.tokens_per_s, 1e3 * point.step.seconds(), name_of(point.step.split.binding()),
                        point.prompt_per_s, name_of(point.prompt.binding()));
  return text;
}

// At every depth, what drafts make of it; empty: none are made.
std::string drafts_text(const Prediction& p) {
  if (p.n_drafts == 0) return {};
  std::string text =
      fmt::format("\ndrafts, {} a step, of which {:.0f} % are assumed to be right:", p.n_drafts, 100 * p.accepted);
  for (const DepthPoint& point : p.points)
    text += fmt::format(" at {} {:.2f} tokens/s ({:.2f} times);", depth_text(point.depth), point.drafted->tokens_per_s,
                        point.drafted->tokens_per_s / point.tokens_per_s);
  const DepthPoint& first = p.points.front();
  text.back() = '\n';
  return text + fmt::format(
                    "  a step at depth {}: {:.2f} ms verify, {:.2f} ms draft, {:.2f} tokens of a sequence; "
                    "without drafts {:.2f} ms and 1\n",
                    depth_text(first.depth), 1e3 * first.drafted->verify_seconds, 1e3 * first.drafted->draft_seconds,
                    first.drafted->tokens, 1e3 * first.step.seconds());
}

std::string phases_table(const DepthPoint& point) {
  std::string text = fmt::format("{:<16} {:<16} {:>7} {:>10} {:>10} {:>9} {:>8} {:>8} {:>6}  {}\n", "phase", "of",
                                 "blocks", "MB", "us", "GB/s", "thread", "complex", "part", "bound by");
  for (const PhaseTime& t : point.step.phases)
    text += fmt::format("{:<16} {:<16} {:>7} {:>10.2f} {:>10.1f} {:>9.1f} {:>8.2f} {:>8.2f} {:>6.2f}  {}\n", t.phase,
                        kind_text(t.kind), t.n_blocks, t.bytes / 1e6, 1e6 * t.seconds, t.bytes / t.seconds / 1e9,
                        t.worst_member, t.worst_complex, t.worst_part, name_of(t.bound));
  return text;
}

std::string bandwidth_text(const Prediction& p) {
  const MachineSpec& m = p.machine;
  const double read = p.read_bandwidth() / 1e9;
  if (!m.teams.empty()) return fmt::format("{:.0f} GB/s read, measured", read);
  if (m.read_gb_s.known())
    return fmt::format("{:.0f} GB/s read, {}", read,
                       m.read_gb_s.evidence == predict::Evidence::kComputed ? std::string_view("as asked for")
                                                                            : name_of(m.read_gb_s.evidence));
  return fmt::format("{:.0f} GB/s read of {:.0f} ({} x {:g} channels at {:g} MT/s)", read, m.theoretical_gb_s(),
                     m.sockets.value, m.channels.value, m.mt_per_s.value);
}

// What parts are and what they gain; empty: there is one part, on one socket.
std::string parts_text(const Prediction& p) {
  std::string text;
  if (p.n_parts > 1) text += fmt::format("{} parts, one on each memory node", p.n_parts);
  const double own = p.points.front().tokens_per_s;
  const auto against = [&](const std::optional<predict::Otherwise>& other, std::string_view what) {
    if (other)
      text += fmt::format("{}{}: {:.1f} tokens/s ({:.2f} times as many here), prompts {:.0f}", text.empty() ? "" : "; ",
                          what, other->tokens_per_s, own / other->tokens_per_s, other->prompt_per_s);
  };
  against(p.interleaved, "interleaved (--numa interleave)");
  against(p.one_socket, "one socket");
  return text.empty() ? text : "memory nodes: " + text + "\n";
}

std::string energy_text(const Prediction& p) {
  if (!p.power) return {};
  const PowerEstimate& w = *p.power;
  const DepthPoint& first = p.points.front();
  return fmt::format(
      "energy, estimate from TDP: {:.1f} J per generated token, {:.2f} J per prompt token at depth {}; {:.0f} W: "
      "sockets {:.0f}, memory {:.0f}{}\n  as if all drew their TDP all the time; without fans, disks and the power "
      "supply's "
      "losses\n",
      w.joules(first.tokens_per_s), w.joules(first.prompt_per_s), depth_text(first.depth), w.sum(), w.sockets, w.memory,
      w.card > 0 ? fmt::format(", card {:.0f}", w.card) : "");
}

Json energy_json(const Prediction& p) {
  if (!p.power) return nullptr;
  const DepthPoint& first = p.points.front();
  return {{"kind", "estimate from TDP"},
          {"contains", p.card ? "sockets, memory, card" : "sockets, memory"},
          {"without", "fans, disks, voltage regulators, losses of the power supply"},
          {"sockets_watts", p.power->sockets},
          {"memory_watts", p.power->memory},
          {"card_watts", p.power->card},
          {"joules_per_token", p.power->joules(first.tokens_per_s)},
          {"joules_per_prompt_token", p.power->joules(first.prompt_per_s)}};
}

Json otherwise_json(const std::optional<predict::Otherwise>& other) {
  if (!other) return nullptr;
  return {{"tokens_per_s", other->tokens_per_s}, {"prompt_tokens_per_s", other->prompt_per_s}};
}

Json drafted_json(const Prediction& p, const DepthPoint& point) {
  if (!point.drafted) return nullptr;
  return {{"drafts", p.n_drafts},
          {"accepted", p.accepted},
          {"verify_ms", 1e3 * point.drafted->verify_seconds},
          {"draft_ms", 1e3 * point.drafted->draft_seconds},
          {"tokens_per_step", point.drafted->tokens},
          {"tokens_per_s", point.drafted->tokens_per_s}};
}

Json split_json(const TimeSplit& split) {
  Json json = Json::object();
  for (std::size_t i = 0; i < split.seconds.size(); ++i) {
    if (split.seconds[i] > 0) append_key(json, std::string(key_of(static_cast<Bound>(i))), 1e3 * split.seconds[i]);
  }
  return json;
}

}  // namespace

std::string prediction_text(const PredictedPlan& plan, bool verbose) {
  const Prediction& p = plan.prediction;
  std::string text = fmt::format(
      "\nprediction (computed, not measured): {}, {} threads{}, {}\n", p.machine.title, p.n_threads,
      p.n_prompt_threads == p.n_threads ? "" : fmt::format(" ({} for prompts)", p.n_prompt_threads), bandwidth_text(p));
  text += fmt::format("kernels' rates: {}, {} at {:.2f} GHz, here {:.2f} GHz\n", p.machine.rates.name,
                      name_of(p.machine.rates.origin.evidence), p.machine.rates.clock_ghz, p.machine.clock_ghz.value);
  if (p.card)
    text += fmt::format("card: {}, {:g} GB/s, {:g} TFLOPS\n", p.card->title, p.card->gb_per_s.value,
                        p.card->f16_tflops.value);
  text += parts_text(p);
  if (!plan.fit.empty()) text += "memory: " + plan.fit + "\n";
  for (const std::string& advice : plan.advice) text += "  " + advice + "\n";
  if (p.n_parallel > 1)
    text += fmt::format("{} sequences generate together; prompts have {} rows a pass\n", p.n_parallel, p.micro_batch);
  text += "\n" + depths_table(p) + drafts_text(p);
  if (!p.passes.empty()) text += "\nprompts at depth 0 by rows of a pass (-ub):";
  for (const predict::PassPoint& pass : p.passes)
    text += fmt::format(" {}: {:.1f} t/s;", pass.n_rows, pass.prompt_per_s);
  if (!p.passes.empty()) text.back() = '\n';
  const DepthPoint& first = p.points.front();
  text += fmt::format("\na step at depth {}: {}\n", depth_text(first.depth), split_text(first.step.split));
  text += fmt::format("{:.2f} GB read from memory", first.step.bytes / 1e9);
  if (first.step.card_bytes > 0) text += fmt::format(", {:.2f} GB from the card's", first.step.card_bytes / 1e9);
  text += fmt::format("\na pass of {} prompt rows: {}\n", p.micro_batch, split_text(first.prompt));
  text += energy_text(p);
  text += "\non the processors (thread, complex, part: most bytes over the mean):\n" + phases_table(first);
  for (const std::string& note : p.notes) text += "note: " + note + "\n";
  if (!verbose) return text;
  text += "\nfigures:\n";
  text += figures_text(p.machine, predict::machine_figures());
  text += fmt::format("  {:<36} {:>9}  {}: {}\n", "kernels' rates", p.machine.rates.name,
                      name_of(p.machine.rates.origin.evidence), p.machine.rates.origin.source);
  if (p.card) text += "\nfigures of the card:\n" + figures_text(*p.card, predict::card_figures());
  return text;
}

Json prediction_json(const PredictedPlan& plan) {
  const Prediction& p = plan.prediction;
  Json machine = {{"name", p.machine.name}, {"title", p.machine.title}, {"isa", cpu::name_of(p.machine.isa)}};
  append_figures(machine, p.machine, predict::machine_figures());
  append_key(machine, "rates",
             {{"name", p.machine.rates.name},
              {"evidence", name_of(p.machine.rates.origin.evidence)},
              {"source", p.machine.rates.origin.source}});
  Json json = {{"kind", "computed"},
               {"machine", std::move(machine)},
               {"threads", p.n_threads},
               {"prompt_threads", p.n_prompt_threads},
               {"parallel", p.n_parallel},
               {"rows_per_pass", p.micro_batch},
               {"parts", p.n_parts},
               {"read_gb_per_s", p.read_bandwidth() / 1e9},
               {"interleaved", otherwise_json(p.interleaved)},
               {"one_socket", otherwise_json(p.one_socket)},
               {"energy", energy_json(p)}};
  if (p.card) {
    json["card"] = {{"name", p.card->name}, {"title", p.card->title}};
    append_figures(json["card"], *p.card, predict::card_figures());
  }
  json["fits"] = plan.fit.empty() ? Json(nullptr) : Json(plan.fits);
  json["fit"] = plan.fit;
  json["advice"] = plan.advice;
  for (const DepthPoint& point : p.points) {
    Json phases = Json::array();
    for (const PhaseTime& t : point.step.phases)
      phases.push_back({{"phase", t.phase},
                        {"of", kind_text(t.kind)},
                        {"blocks", t.n_blocks},
                        {"bytes", t.bytes},
                        {"us", 1e6 * t.seconds},
                        {"bound", key_of(t.bound)},
                        {"most_over_mean", t.worst_member},
                        {"most_over_mean_complex", t.worst_complex},
                        {"most_over_mean_part", t.worst_part}});
    json["depths"].push_back({{"depth", point.depth},
                              {"tokens_per_s", point.tokens_per_s},
                              {"step_ms", 1e3 * point.step.seconds()},
                              {"bytes", point.step.bytes},
                              {"card_bytes", point.step.card_bytes},
                              {"bound", key_of(point.step.split.binding())},
                              {"step", split_json(point.step.split)},
                              {"prompt_tokens_per_s", point.prompt_per_s},
                              {"prompt_bound", key_of(point.prompt.binding())},
                              {"prompt", split_json(point.prompt)},
                              {"drafted", drafted_json(p, point)},
                              {"phases", std::move(phases)}});
  }
  json["passes"] = Json::array();
  for (const predict::PassPoint& pass : p.passes)
    json["passes"].push_back(
        {{"rows", pass.n_rows}, {"prompt_tokens_per_s", pass.prompt_per_s}, {"bound", key_of(pass.bound)}});
  json["notes"] = p.notes;
  return json;
}

std::string comparison_text(const std::string& model, const std::vector<PredictedPlan>& plans) {
  std::string head = "| machine | threads | parts | GB/s |", rule = "|---|--:|--:|--:|";
  for (const DepthPoint& point : plans.front().prediction.points) {
    head += fmt::format(" tg @{} |", depth_text(point.depth));
    rule += "--:|";
  }
  for (const DepthPoint& point : plans.front().prediction.points) {
    head += fmt::format(" pp @{} |", depth_text(point.depth));
    rule += "--:|";
  }
  std::string text = fmt::format(
      "{}: tokens per second, predicted (computed, not measured)\n\n{} J/token | J/prompt token | tg bound by | pp "
      "bound by | memory |\n{}--:|--:|---|---|---|\n",
      model, head, rule);
  for (const PredictedPlan& plan : plans) {
    const Prediction& p = plan.prediction;
    text += fmt::format("| {} | {} | {} | {:.0f} |", p.machine.title, p.n_threads, p.n_parts, p.read_bandwidth() / 1e9);
    for (const DepthPoint& point : p.points) text += fmt::format(" {:.1f} |", point.tokens_per_s);
    for (const DepthPoint& point : p.points) text += fmt::format(" {:.0f} |", point.prompt_per_s);
    const DepthPoint& first = p.points.front();
    text += p.power ? fmt::format(" {:.1f} | {:.2f} |", p.power->joules(first.tokens_per_s),
                                  p.power->joules(first.prompt_per_s))
                    : " n/a | n/a |";
    text += fmt::format(" {} | {} | {} |\n", name_of(first.step.split.binding()), name_of(first.prompt.binding()),
                        plan.fit.empty() ? "not stated"
                        : plan.fits      ? "fits"
                                         : "too small");
  }
  text +=
      "\nJ: estimate from TDP at depth 0: sockets, memory and card as if they drew their TDP all the time; without "
      "fans, "
      "disks and the power supply's losses.\n";
  return text;
}

}  // namespace dodeca::runtime::cli
