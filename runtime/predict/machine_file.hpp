// Machines, cards and kernels' rates as JSON files (bench/machines):
//
//   { "dodeca_machine": 1, "name": "my-server", "title": "...", "like": "epyc-9554",
//     "mt_per_s": {"value": 4400, "measured": "dmidecode"}, ... }
//
// Every figure is an object of its value and of one line that says where it comes from, whose key is the kind of
// evidence: vendor, measured, published, computed or assumed. What a file leaves out it has from the entry that "like"
// names; without "like" everything is there. Nothing in a file is trusted: Error{kBadFile} names the file and the key.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/predict/machine_spec.hpp"

namespace dodeca::runtime::predict {

// Gives the text of the entry with a name, for "like" and "rates"; empty: there is none.
using EntryText = std::function<std::string_view(std::string_view name)>;
struct Entries {
  EntryText machines, cards, rates;
};

// A figure in files and on pages: its key, what it is, and what it may be.
template <class Spec>
struct FigureKey {
  std::string_view key, meaning;
  Figure Spec::*figure;
  double min, max;
  bool whole = false, optional = false;
};
std::span<const FigureKey<MachineSpec>> machine_figures();
std::span<const FigureKey<CardSpec>> card_figures();

MachineSpec parse_machine(std::string_view text, std::string_view what, const Entries& entries);
CardSpec parse_card(std::string_view text, std::string_view what, const Entries& entries);
KernelRates parse_rates(std::string_view text, std::string_view what);
MachineSpec read_machine(const std::filesystem::path& path, const Entries& entries);
CardSpec read_card(const std::filesystem::path& path, const Entries& entries);

// All figures that are known, and the rates, in a file of its own.
void write_machine(const MachineSpec& machine, const std::filesystem::path& path);
void write_card(const CardSpec& card, const std::filesystem::path& path);

}  // namespace dodeca::runtime::predict
