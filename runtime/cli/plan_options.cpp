#include "runtime/cli/plan_options.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "runtime/model/shapes.hpp"
#include "runtime/predict/catalogue.hpp"

namespace dodeca::runtime::cli {
namespace {

std::vector<std::string> machine_list(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    out.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

// What is here (none, emulation, a number) is for DeviceOptions.
bool is_here(const std::string& gpu) {
  return gpu.empty() || gpu == "none" || gpu == "emulation" || gpu.starts_with("CUDA") ||
         std::ranges::all_of(gpu, [](char c) { return c >= '0' && c <= '9'; });
}

// What says something about this machine, or changes what was measured.
void check_there(const PlanArguments& p) {
  if (!p.model.isa.empty()) throw Usage("--isa goes without --machine and --compare: a machine's level is its own");
  if (p.model.compute_f32() || p.model.onednn)
    throw Usage("--compute f32 and --onednn go without --machine and --compare: their speed was not measured");
  if (const std::vector<std::string_view> flags = p.model.device.asked(); p.gpu.empty() && !flags.empty())
    throw Usage(
        fmt::format("{} is about a card: with --machine and --compare, --gpu NAME says which one", flags.front()));
}

predict::HotHits hot_hits_of(const std::string& text) {
  using Kind = predict::HotHits::Kind;
  if (text.empty() || text == "uniform") return {};
  if (text == "published") return {.kind = Kind::kPublished};
  double given = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), given);
  if (error != std::errc() || end != text.data() + text.size() || !(given >= 0 && given <= 1))
    throw Usage(fmt::format("--hot-hits must be uniform, published or a share from 0 to 1, not '{}'", text));
  return {.kind = Kind::kGiven, .given = given};
}

void check_plan(PlanArguments& p) {
  if (p.backtest) {
    if (p.predicts() || !p.plot.empty() || !p.shape.empty() || !p.model.model.empty())
      throw Usage("--backtest has models and machines of its own: it goes with --json alone");
    return;
  }
  if (p.shape.empty() == p.model.model.empty()) throw Usage("-m FILE or --shape NAME is needed, one of them");
  if (p.shape.empty() && !p.recipe.empty()) throw Usage("--recipe goes with --shape: a file has its types");
  if (!p.machine.empty() && !p.machines.empty()) throw Usage("--machine and --compare are one too many: --compare A,B");
  if (!is_here(p.model.device.gpu)) {
    p.gpu = p.model.device.gpu;
    p.model.device.gpu = "none";
    if (!p.predicts())
      throw Usage(fmt::format("--gpu {} names a card of the catalogue and goes with --machine", p.gpu));
  } else if (p.predicts() && !p.model.device.gpu.empty() && p.model.device.gpu != "none") {
    throw Usage(fmt::format(
        "with --machine or --compare, --gpu must name a card of the catalogue ({}) or a .json file, not '{}'",
        fmt::join(predict::card_names(), ", "), p.model.device.gpu));
  }
  if (p.predicts()) check_there(p);
  if (!p.shape.empty() && p.model.drafts.mtp.empty())
    p.model.drafts.mtp = "off";  // hardly a published file has the layer
  if (p.accepted >= 0 && (!p.predicts() || p.model.drafts.mtp == "off"))
    throw Usage("--mtp-accept goes with --machine or --compare, and with drafts (--mtp 1)");
  if (p.simulate && (p.machine.empty() || p.gpu.empty()))
    throw Usage("--simulate needs --machine NAME and --gpu NAME: how experts stream from that memory to that card");
  if (!p.plot.empty() && !p.predicts()) throw Usage("--plot goes with --machine or --compare");
  if (p.hot.kind != predict::HotHits::Kind::kUniform && p.model.device.hot_experts != "auto")
    throw Usage("--hot-hits goes with --machine, --gpu NAME and --hot-experts auto");
  if (p.recipe.empty()) p.recipe = "ud-q2_k_xl";
  if (!p.shape.empty()) p.model.model = p.shape;  // for the checks alone
  p.model.check();
  using Mode = NumaRequest::Mode;
  if (const Mode mode = p.model.numa.request().mode; p.predicts() && (mode == Mode::kNodes || mode == Mode::kParts))
    throw Usage(
        fmt::format("--numa {} is about this machine: with --machine and --compare it is auto, interleave or off",
                    p.model.numa.numa));
}

}  // namespace

PlanArguments parse_plan(std::span<const std::string> args, Console& console) {
  PlanArguments p;
  std::string compare, hot_hits;
  Options options(
      "dodeca plan",
      "Says where a model lies on this machine, what it takes, and why, without loading it. With --machine it says the "
      "same of\nanother machine, and predicts tokens per second there at several depths, and what binds them: computed "
      "from the machine's\nfigures and from measured kernels, not measured.\nMachines: " +
          fmt::format("{}", fmt::join(predict::machine_names(), ", ")) +
          ".\nTwo sockets, memory nodes, MT/s, channels, GiB: "
          "2xepyc-9654:nps4:mt4400:ch10:ram768.\nCards: " +
          fmt::format("{}.", fmt::join(predict::card_names(), ", ")),
      "dodeca plan -m model.gguf -c 32768\n"
      "  dodeca plan --shape deepseek-v3 --recipe ud-q2_k_xl --machine epyc-9554\n"
      "  dodeca plan --shape deepseek-v3 --machine epyc-9654:ram384 --gpu rtx-4090 --json\n"
      "  dodeca plan --shape kimi-k2 --compare epyc-9554,2xepyc-9554,epyc-9755 --plot kimi.svg\n"
      "  dodeca plan --shape deepseek-v3 --machine epyc-9554 --gpu rtx-4090 --simulate --plot pass.svg\n"
      "  dodeca plan --backtest");
  p.model.add_flags(options);
  options.choice("--shape", p.shape, shape_names(), "a published model's shape instead of -m");
  options.value("--recipe", p.recipe, "with --shape: recipe or type of its weights (default: ud-q2_k_xl)", "NAME");
  options.value("--machine", p.machine, "a machine of the catalogue, or its .json file (default: this one)", "NAME");
  options.value("--compare", compare, "several machines, in a table", "NAME,...");
  options.value("--plot", p.plot, "with --machine or --compare: tokens per second against the context, as SVG", "FILE",
                FileUse::kWrites);
  options.value("--hot-hits", hot_hits,
                "with --hot-experts: what slots are assumed to serve of the uses of experts: uniform (as many as they "
                "are of the experts), published, or a share such as 0.2 (default: uniform)",
                "SHARE");
  options.flag(
      "--simulate", p.simulate,
      "with --machine and --gpu NAME: prompts pass after pass, by the schedule in which experts stream to the card; "
      "with -v its steps, with --plot a picture of them");
  options.value("-p,--n-prompt", p.n_prompt, "with --simulate: tokens of the prompt (default: 8192)", {1, 1 << 20});
  options.flag("--backtest", p.backtest, "predict what others have published, and say how far off the model is");
  options.value("-np,--parallel", p.parallel, "sequences that share the cache (default: 1)", {1, 4096});
  p.model.drafts.add_flags(options);
  options.value("--mtp-accept", p.accepted,
                "with --machine or --compare: the share of drafts that is assumed to be right (default: 0.85)",
                {0.0, 1.0});
  options.flag("--json", p.json, "one JSON object");
  console.add_flags(options);
  options.parse(args);
  p.machines = machine_list(compare);
  p.hot = hot_hits_of(hot_hits);
  check_plan(p);
  std::vector<std::string> all = p.machines;
  all.push_back(p.machine);
  for (const std::string& machine : all) {
    if (const std::string_view file = predict::machine_file(machine); !file.empty())
      options.files().reads(std::string(file), p.machine.empty() ? "--compare" : "--machine");
  }
  if (const std::string_view file = predict::card_file(p.gpu); !file.empty())
    options.files().reads(std::string(file), "--gpu");
  options.files().check();
  return p;
}

}  // namespace dodeca::runtime::cli
