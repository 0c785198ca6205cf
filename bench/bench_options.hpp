// The command line of dodeca-bench without a command: llama-bench's options and those of its own.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/report.hpp"
#include "bench/shape_run.hpp"
#include "bench/test_matrix.hpp"
#include "bench/throughput.hpp"
#include "runtime/cli/console.hpp"
#include "runtime/cli/model_options.hpp"

namespace dodeca::bench {

struct BenchOptions {
  runtime::cli::Console console;
  runtime::cli::ModelOptions model;  // without a path: the tests have theirs
  RunOptions run;
  ShapeRequest shape;  // none: an empty name
  Axes axes;           // no models with a shape
  Format output = Format::kMarkdown, output_stderr = Format::kNone;
  bool progress_lines = false;
  std::string write_machine;  // a file for this machine's figures, instead of tests
  double machine_seconds = 60;
};

// Says what happens instead of what options without effect ask for. Throws runtime::cli::Usage.
BenchOptions parse_bench(std::span<const std::string> args);

}  // namespace dodeca::bench
