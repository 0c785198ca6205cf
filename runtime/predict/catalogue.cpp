#include "runtime/predict/catalogue.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "runtime/base/error.hpp"
#include "runtime/base/printable.hpp"

namespace dodeca::runtime::predict {
namespace {

enum class Kind { kMachine, kCard, kRates, kPublished };
struct Entry {
  Kind kind;
  std::string_view name, text;
};
// The files of bench/machines, by runtime/predict/embed_machines.cmake.
constexpr Entry kEntries[] = {
#define ENTRY(kind, name, text) {Kind::kind, name, text},
#include "runtime/predict/catalogue.inc"
#undef ENTRY
};

std::string_view text_of(Kind kind, std::string_view name) {
  for (const Entry& entry : kEntries) {
    if (entry.kind == kind && entry.name == name) return entry.text;
  }
  return {};
}

std::vector<std::string> names_of(Kind kind) {
  std::vector<std::string> names;
  for (const Entry& entry : kEntries) {
    if (entry.kind == kind) names.emplace_back(entry.name);
  }
  std::ranges::sort(names);
  return names;
}

bool is_path(std::string_view text) { return text.ends_with(".json") || text.find('/') != std::string_view::npos; }

Error none(std::string_view what, std::string_view name, const std::vector<std::string>& there) {
  return {ErrorKind::kBadRequest, fmt::format("no {} is called '{}' (there are {}; or a .json file)", what,
                                              printable(name, 64), fmt::join(there, ", "))};
}

std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "2xepyc-9554:nps4", taken apart.
struct MachineText {
  int sockets = 0;  // 0: as the entry has it
  std::string_view name, differences;
};
MachineText taken_apart(std::string_view text) {
  MachineText m{.name = text.substr(0, text.find(':'))};
  m.differences = text.substr(m.name.size());
  if (m.name.size() > 2 && m.name[0] >= '1' && m.name[0] <= '8' && m.name[1] == 'x') {
    m.sockets = m.name[0] - '0';
    m.name.remove_prefix(2);
  }
  return m;
}

// ":nps4" and the like.
struct Difference {
  std::string_view key;
  Figure MachineSpec::*figure;

  const FigureKey<MachineSpec>& limits() const {
    return *std::ranges::find(machine_figures(), figure, &FigureKey<MachineSpec>::figure);
  }
};
constexpr Difference kDifferences[] = {
    {"nps", &MachineSpec::nodes_per_socket}, {"mt", &MachineSpec::mt_per_s},    {"ch", &MachineSpec::channels},
    {"ram", &MachineSpec::memory_gib},       {"read", &MachineSpec::read_gb_s},
};

// What was measured on the machine as it was.
void forget_measured(MachineSpec& spec) {
  spec.read_gb_s = spec.barrier_us = {};
  spec.teams.clear();
}

void differ(MachineSpec& spec, std::string_view text) {
  for (const Difference& d : kDifferences) {
    if (!text.starts_with(d.key)) continue;
    const std::optional<double> value = number_in(text.substr(d.key.size()));
    const FigureKey<MachineSpec>& limits = d.limits();
    if (!value || !(*value >= limits.min && *value <= limits.max) || (limits.whole && *value != std::floor(*value)))
      break;
    if (d.figure == &MachineSpec::read_gb_s && spec.sockets.value > 1)
      throw Error(
          ErrorKind::kBadRequest,
          fmt::format("':{}' is what one socket reads, and this machine has {:g}: what crosses their links does "
                      "not follow from it",
                      printable(text, 64), spec.sockets.value));
    if (d.figure != &MachineSpec::memory_gib) forget_measured(spec);
    spec.*d.figure = {.value = *value, .evidence = Evidence::kComputed, .source = "as asked for"};
    return;
  }
  std::string known;
  for (const Difference& d : kDifferences)
    known += fmt::format("{}{}N ({}, {:g} to {:g})", known.empty() ? "" : ", ", d.key, d.limits().meaning,
                         d.limits().min, d.limits().max);
  throw Error(ErrorKind::kBadRequest,
              fmt::format("':{}' says nothing about a machine; known are {}", printable(text, 64), known));
}

}  // namespace

std::vector<std::string> machine_names() { return names_of(Kind::kMachine); }
std::vector<std::string> card_names() { return names_of(Kind::kCard); }

const Entries& catalogue_entries() {
  static const Entries entries = {
      .machines = [](std::string_view name) { return text_of(Kind::kMachine, name); },
      .cards = [](std::string_view name) { return text_of(Kind::kCard, name); },
      .rates = [](std::string_view name) { return text_of(Kind::kRates, name); },
  };
  return entries;
}

MachineSpec find_machine(std::string_view text) {
  auto [sockets, name, rest] = taken_apart(text);
  const std::string_view entry = text_of(Kind::kMachine, name);
  if (entry.empty() && !is_path(name)) throw none("machine", name, machine_names());
  MachineSpec spec = entry.empty() ? read_machine(std::string(name), catalogue_entries())
                                   : parse_machine(entry, name, catalogue_entries());
  if (sockets > 0) {
    if (sockets != static_cast<int>(spec.sockets.value)) forget_measured(spec);
    spec.sockets = {.value = static_cast<double>(sockets), .evidence = Evidence::kComputed, .source = "as asked for"};
    if (sockets > 1) spec.title = fmt::format("{} x {}", sockets, spec.title);
  }
  if (!rest.empty()) spec.title += fmt::format(" ({})", rest.substr(1));
  while (!rest.empty()) {
    rest.remove_prefix(1);
    const std::string_view difference = rest.substr(0, rest.find(':'));
    differ(spec, difference);
    rest.remove_prefix(difference.size());
  }
  spec.name = text;
  return spec;
}

CardSpec find_card(std::string_view text) {
  const std::string_view entry = text_of(Kind::kCard, text);
  if (!entry.empty()) return parse_card(entry, text, catalogue_entries());
  // As people write it: rtx4090.
  for (const std::string& name : card_names()) {
    std::string plain = name;
    std::erase(plain, '-');
    if (plain == text) return find_card(name);
  }
  if (!is_path(text)) throw none("card", text, card_names());
  return read_card(std::string(text), catalogue_entries());
}

std::string_view machine_file(std::string_view text) {
  const std::string_view name = taken_apart(text).name;
  return is_path(name) ? name : std::string_view();
}
std::string_view card_file(std::string_view text) { return is_path(text) ? text : std::string_view(); }

std::string_view published_text() { return text_of(Kind::kPublished, "published"); }

}  // namespace dodeca::runtime::predict
