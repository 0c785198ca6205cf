#include "runtime/cli/draft_options.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "runtime/base/error.hpp"
#include "runtime/model/wanted.hpp"

namespace dodeca::runtime::cli {
namespace {

constexpr std::int64_t kLeastSteps = 20;  // of each kind, for saying what drafts gain
constexpr std::int64_t kMostDrafts = 7;   // with a row of its own, a pass of few rows

// What the file lacks of its layer; empty: nothing.
std::string missing_weight(const WeightSource& source) {
  for (const WantedWeight& wanted : wanted_weights(source.config(), true)) {
    const auto has = [&](const WeightInfo& info) { return info.id == wanted.id; };
    if (!wanted.optional && std::ranges::none_of(source.mtp_weights(), has)) return wanted.name;
  }
  return "";
}

}  // namespace

void DraftFlags::add_flags(Options& options) {
  offered = true;
  options.value("--mtp", mtp,
                "tokens drafted per step by the model's multi-token-prediction layer; the text is the same. auto: one, "
                "while that is measured to be faster (default: auto)",
                "off|auto|N");
}

void DraftFlags::check() const {
  if (automatic() || mtp == "off") return;
  const bool number = mtp.size() == 1 && mtp[0] >= '1' && mtp[0] <= static_cast<char>('0' + kMostDrafts);
  if (!number) throw Usage(fmt::format("--mtp must be off, auto or 1 to {}, not '{}'", kMostDrafts, mtp));
}

bool DraftFlags::wants_layer(const WeightSource& source, std::string_view elsewhere, const Console& console) const {
  if (off()) return false;
  std::string why;
  if (source.mtp_weights().empty())
    why = "the model has no multi-token-prediction layer, or the file was made without it (dodeca quantize --keep-mtp)";
  else if (const std::string missing = missing_weight(source); !missing.empty())
    why = fmt::format("the multi-token-prediction layer has no {}", missing);
  else if (!elsewhere.empty())
    why = fmt::format("drafts are made where the whole model runs on the processors of one machine, and {}", elsewhere);
  if (why.empty()) return true;
  if (!automatic()) throw Error(ErrorKind::kUnsupported, why);
  if (!source.mtp_weights().empty()) console.info("drafts: off; " + why);
  return false;
}

std::string drafts_text(const engine::Engine& engine) {
  const engine::DraftStats& drafts = engine.stats().drafts;
  if (drafts.n_drafted == 0) return "";
  std::string text =
      fmt::format("drafts: {} made, {} taken ({:.1f} %)", drafts.n_drafted, drafts.n_accepted,
                  100.0 * static_cast<double>(drafts.n_accepted) / static_cast<double>(drafts.n_drafted));
  if (drafts.with.layers > 0 && drafts.without.layers > 0)
    text += fmt::format("; experts read per layer: {:.1f}, without drafts {:.1f}", drafts.with.per_layer(),
                        drafts.without.per_layer());
  else if (drafts.with.layers > 0)
    text += fmt::format("; experts read per layer: {:.1f}", drafts.with.per_layer());
  const engine::DraftSpeed &speed = engine.draft_control().with(), &plain = engine.draft_control().without();
  const double with = speed.rate(), without = plain.rate();
  if (std::min(speed.n_steps, plain.n_steps) >= kLeastSteps)
    text += fmt::format("; {:.2f} tokens/s with them, {:.2f} without: {:.2f} times", with, without, with / without);
  else if (with > 0)
    text += fmt::format("; {:.2f} tokens/s with them", with);
  return text;
}

}  // namespace dodeca::runtime::cli
