#include "runtime/cli/tuning.hpp"

#include <fmt/core.h>

#include <cstdlib>

#include "cpu/processor.hpp"
#include "runtime/plan/tuning_file.hpp"

namespace dodeca::runtime::cli {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

TuningSearch tuning_search(cpu::Isa isa) {
  TuningSearch search{environment("DODECA_TUNING"), {}, cpu::processor_id(), isa};
  std::filesystem::path folder = environment("XDG_CONFIG_HOME");
  if (const std::string home = environment("HOME"); !folder.is_absolute() && !home.empty())
    folder = std::filesystem::path(home) / ".config";
  if (folder.is_absolute()) search.user_file = folder / "dodeca" / "tuning.json";
  return search;
}

std::filesystem::path TuningSearch::file() const {
  if (variable == "none") return {};
  return variable.empty() ? user_file : std::filesystem::path(variable);
}

cpu::MatmulTuning find_tuning(const TuningSearch& search, const Log& log) {
  if (search.variable == "none") {
    log(Level::kDetail, "kernel tuning: none, as DODECA_TUNING says");
    return {};
  }
  const bool named = !search.variable.empty();
  const std::filesystem::path file = search.file();
  std::error_code ignored;
  if (named || std::filesystem::exists(file, ignored)) {
    TuningFile read = read_tuning(file, search.processor, search.isa);
    if (read.unfit.empty()) {
      log(Level::kDetail, fmt::format("kernel tuning: {} types, from {}", read.tuning.size(), file.string()));
      return std::move(read.tuning);
    }
    log(Level::kInfo, fmt::format("kernel tuning: {} is left out: {}", file.string(), read.unfit));
  }
  cpu::MatmulTuning shipped = cpu::shipped_tuning(search.processor);
  log(Level::kDetail, shipped.empty()
                          ? fmt::format("kernel tuning: none for {}", search.processor)
                          : fmt::format("kernel tuning: {} types, shipped for {}", shipped.size(), search.processor));
  return shipped;
}

}  // namespace dodeca::runtime::cli
