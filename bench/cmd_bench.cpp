#include "bench/cmd_bench.hpp"

#include <fmt/core.h>

#include <cstdio>
#include <memory>
#include <utility>

#include "bench/bench_options.hpp"
#include "bench/machine_measure.hpp"
#include "cpu/memory.hpp"
#include "cpu/topology.hpp"
#include "runtime/cli/command.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/predict/machine_file.hpp"

namespace dodeca::bench {
namespace {

Environment read_environment(const runtime::cli::ModelOptions& model, std::uint64_t seed) {
  const cpu::Topology topology = cpu::read_topology();
  Environment env;
  env.cpu_model = topology.cpu_model;
  env.build_commit = runtime::cli::program_commit();
  env.build_number = DODECA_BUILD_NUMBER;
  env.compiler = "g++ " __VERSION__;
  env.isa = cpu::name_of(model.isa_level());
  env.huge_pages = cpu::huge_page_mode();
  env.n_nodes = static_cast<int>(topology.nodes.size());
  env.n_cores = static_cast<int>(topology.cores.size());
  env.seed = seed;
  return env;
}

std::vector<std::unique_ptr<Report>> make_reports(const BenchOptions& options, const Environment& environment) {
  std::vector<std::unique_ptr<Report>> reports;
  const auto add = [&](Format format, Report::Write write) {
    if (auto report = make_report(format, options.axes, environment, std::move(write)))
      reports.push_back(std::move(report));
  };
  add(options.output, [](std::string_view text) {
    runtime::cli::print_out(text);
    runtime::cli::flush_out();
  });
  add(options.output_stderr, [](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); });
  return reports;
}

}  // namespace

int cmd_bench(std::span<const std::string> args) {
  BenchOptions options = parse_bench(args);
  const runtime::cli::Console& console = options.console;
  if (!options.write_machine.empty()) {
    runtime::predict::write_machine(measure_machine(options.machine_seconds, options.model.isa_level(), console),
                                    options.write_machine);
    return 0;
  }
  const Environment environment = read_environment(options.model, options.run.seed);
  std::unique_ptr<ShapeRun> shape;
  if (!options.shape.shape.empty()) {
    shape = std::make_unique<ShapeRun>(options.shape, options.model, options.run, console);
    options.axes.models = {shape->name()};
  }
  const std::vector<Test> tests = all_tests(options.axes);
  if (tests.empty()) throw runtime::cli::Usage("nothing to run: -p and -n are 0 and there is no -pg");
  const std::vector<std::unique_ptr<Report>> reports = make_reports(options, environment);

  std::size_t index = 0;
  const bool say_steps =
      options.progress_lines || (!console.quiet && !console.no_progress && runtime::cli::stderr_is_terminal());
  const auto say = [&](std::string_view line) {
    if (say_steps) fmt::print(stderr, "dodeca-bench: benchmark {}/{}: {}\n", index, tests.size(), line);
  };
  const Opener opener = shape ? shape->opener() : file_opener(options.model, console);
  Throughput throughput(options.model, options.run, opener, console, say);
  if (shape && shape->partial()) shape->probe(tests, say);
  throughput.load(tests.front());  // a model that cannot be loaded leaves no half report
  for (const auto& report : reports) report->begin();
  for (const Test& test : tests) {
    ++index;
    Result result = throughput.run(test);
    if (shape && shape->partial()) shape->complete(index - 1, result);
    for (const auto& report : reports) report->add(result);
  }
  for (const auto& report : reports) report->end();
  return 0;
}

}  // namespace dodeca::bench
