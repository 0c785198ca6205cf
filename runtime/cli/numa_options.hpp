// The flags about memory nodes: how a model is cut over them, in which pages it lies, and what is checked.
#pragma once

#include <string>

#include "runtime/cli/console.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/engine/session.hpp"
#include "runtime/plan/numa.hpp"

namespace dodeca::runtime::cli {

struct NumaOptions {
  std::string numa;        // empty: auto
  std::string huge_pages;  // empty: thp
  bool verify_placement = false, allow_remote = false;

  void add_flags(Options& options);
  void check() const;  // after parse; throws Usage
  NumaRequest request() const;
  // Of a machine. whole: the model cannot be cut.
  NumaChoice choose(const cpu::Topology& topology, bool whole) const;
  // What another program's word means here; empty: it is ours.
  std::string note() const;
  void apply(engine::SessionOptions& session) const {
    session.verify_placement = verify_placement;
    session.allow_remote = allow_remote;
  }
};

// What is wrong with this machine's memory for such a choice, each once.
void warn_about_memory(const NumaChoice& choice, int n_threads, const Console& console);

}  // namespace dodeca::runtime::cli
