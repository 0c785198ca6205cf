#include "runtime/cli/numa_options.hpp"

#include <fmt/format.h>

#include "cpu/memory_advice.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/error.hpp"

namespace dodeca::runtime::cli {

void NumaOptions::add_flags(Options& options) {
  options.value(
      "--numa", numa,
      "memory nodes: auto: a part of the model on each; off; interleave: memory over all nodes; nodes=0,2: only "
      "these; parts=N: as many parts on one memory (default: auto)",
      "MODE");
  options.choice("--huge-pages", huge_pages, {"thp", "2M", "1G", "off"},
                 "pages of the weights: transparent ones, or from the pools of 2 MiB or 1 GiB pages (default: thp)");
  options.flag("--verify-placement", verify_placement, "ask where every page of the weights is, not samples alone");
  options.flag("--numa-allow-remote", allow_remote, "run although weights lie on other nodes than they should");
}

namespace {

// llama.cpp's word for the same.
std::string_view own_word(std::string_view numa) {
  return numa == "distribute" || numa == "numactl" || numa == "mirror" ? "auto" : numa;
}

}  // namespace

void NumaOptions::check() const {
  if (numa == "isolate") throw Usage("--numa isolate: write --numa nodes=N for the node that all of it should stay on");
  try {
    request();
  } catch (const Error& error) {
    throw Usage("--numa: " + error.sentence());
  }
}

std::string NumaOptions::note() const {
  return own_word(numa) == numa ? "" : "--numa: " + numa + " is auto here: a part of the model on each memory node";
}

NumaRequest NumaOptions::request() const { return parse_numa(own_word(numa)); }

NumaChoice NumaOptions::choose(const cpu::Topology& topology, bool whole) const {
  NumaChoice choice = choose_numa(topology, request(), whole);
  choice.placement.pages = huge_pages == "2M"    ? cpu::HugePages::k2M
                           : huge_pages == "1G"  ? cpu::HugePages::k1G
                           : huge_pages == "off" ? cpu::HugePages::kOff
                                                 : cpu::HugePages::kTransparent;
  return choice;
}

void warn_about_memory(const NumaChoice& choice, int n_threads, const Console& console) {
  for (const std::string& warning : choice.warnings) console.warn(warning);
  const cpu::MemoryUse use{.several_nodes = choice.placement.all_nodes().size() > 1, .n_threads = n_threads};
  const cpu::Topology& topology = choice.topology;
  for (std::size_t n = 0; n < topology.nodes.size() && topology.nodes.size() > 1; ++n)
    console.detail(fmt::format("memory node {}: {:.1f} GiB, distances {}", topology.nodes[n].os_index,
                               gib(topology.nodes[n].memory_bytes), fmt::join(topology.distances[n], " ")));
  for (const std::string& advice : cpu::memory_advice(choice.topology, use)) console.warn(advice);
}

}  // namespace dodeca::runtime::cli
