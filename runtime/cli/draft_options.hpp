// The flag about drafted tokens, and what is said about them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/cli/console.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/engine/engine.hpp"
#include "runtime/model/weight_source.hpp"
#include "runtime/plan/plan.hpp"

namespace dodeca::runtime::cli {

struct DraftFlags {
  std::string mtp;       // empty: auto
  bool offered = false;  // the command can use drafts

  void add_flags(Options& options);
  void check() const;  // after parse; throws Usage
  bool automatic() const { return mtp.empty() || mtp == "auto"; }
  bool off() const { return !offered || mtp == "off"; }
  std::int64_t n() const { return off() ? 0 : automatic() ? 1 : std::stoll(mtp); }  // of one step

  // Whether the plan should have the layer that drafts: where the file has a whole one, and nothing is `elsewhere`: what of
  // the model does not run on this machine's processors, in words. Throws where drafts were asked for by number and cannot
  // be had.
  bool wants_layer(const WeightSource& source, std::string_view elsewhere, const Console& console) const;
  engine::DraftOptions options(const Plan& plan) const {
    return plan.options.mtp ? engine::DraftOptions{.n = n(), .measures = automatic()} : engine::DraftOptions{};
  }
};

// "drafts: 120 made, 80 taken (66.7 %); ..."; empty: none were made.
std::string drafts_text(const engine::Engine& engine);

}  // namespace dodeca::runtime::cli
