// dodeca quantize IN OUT.gguf: see quantize/ for the work.
#include <fmt/format.h>
#include <sys/resource.h>

#include <filesystem>
#include <optional>

#include "runtime/base/stopwatch.hpp"
#include "runtime/cli/command.hpp"
#include "runtime/cli/model_identity.hpp"
#include "runtime/cli/quantize_options.hpp"
#include "runtime/cli/quantize_report.hpp"
#include "runtime/engine/workers.hpp"
#include "runtime/model/random_source.hpp"
#include "runtime/model/shapes.hpp"
#include "runtime/quantize/quantize.hpp"

namespace dodeca::runtime::cli {
namespace {

using quantize::QuantizePlan;
using quantize::QuantizeResult;

std::unique_ptr<WeightSource> open_source(const QuantizeArguments& arguments, const Log& log) {
  if (!arguments.shape.empty()) {
    const ModelConfig config = published_shape(arguments.shape);
    return random_weights(
        config, [&](const WantedWeight& weight) { return published_type(config, weight.id.role); }, 1);
  }
  SourceOptions options{.headers_only = arguments.dry_run};
  if (!std::filesystem::is_directory(arguments.in)) options.override_kv = arguments.quantize.override_kv;
  return open_weights(arguments.in, options, log);
}

std::uint64_t resident_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

QuantizeResult write_files(const QuantizeArguments& arguments, const WeightSource& source, const QuantizePlan& plan,
                           cpu::Team& team, const Console& console) {
  try {
    ProgressBar bar(console, "quantizing", "MB", 1e6);
    quantize::WriteOptions options = arguments.write;
    options.log = console.log();
    QuantizeResult result = quantize::write_quantized(source, plan, arguments.out, team, options, bar.callback());
    bar.finish();
    return result;
  } catch (...) {
    if (const auto unfinished = GgufWriter::log_of(arguments.out, arguments.write.split);
        std::filesystem::exists(unfinished))
      console.info(fmt::format("finished tensors stay beside {}: the command that began them resumes from there",
                               unfinished.string()));
    throw;
  }
}

void verify_files(const QuantizeArguments& arguments, const WeightSource& source, const QuantizePlan& plan,
                  const QuantizeResult& result, cpu::Team& team, const Console& console) {
  ProgressBar bar(console, "verifying", "MB", 1e6);
  const quantize::Verification found =
      quantize::verify(source, plan, result, team, bar.callback(), arguments.write.low_memory);
  bar.finish();
  print_out(verification_text(plan, found));
  flush_out();
  for (std::size_t i = 0; i < plan.tensors.size(); ++i)
    if (!found.tensors[i].intact)
      throw Error(ErrorKind::kIo, fmt::format("tensor {} is not read back as it was written: the disk or the memory "
                                              "of this machine fails",
                                              plan.tensors[i].name));
}

}  // namespace

int cmd_quantize(std::span<const std::string> args) {
  Console console;
  QuantizeArguments arguments = parse_quantize(args, console);
  const Log log = [shape = !arguments.shape.empty(), say = console.log()](Level level, std::string_view line) {
    if (!shape || level != Level::kWarning) say(level, line);  // that a shape has no vocabulary
  };
  const Stopwatch watch;
  const std::unique_ptr<WeightSource> source = open_source(arguments, log);
  std::optional<ImportanceMatrix> imatrix;
  if (!arguments.imatrix.empty()) {
    imatrix = ImportanceMatrix::read(arguments.imatrix);
    arguments.quantize.imatrix = &*imatrix;
    arguments.quantize.imatrix_file = arguments.imatrix;
    console.info(fmt::format("importance matrix: {} entries, {} chunks", imatrix->entries.size(), imatrix->n_chunks));
  }
  std::unique_ptr<cpu::Team> team;
  if (arguments.allocation.asked()) {
    team = engine::make_team(arguments.threads, console.log());
    arguments.allocation.choose(*source, arguments.quantize, *team, arguments.write.isa, console);
  }
  QuantizePlan plan = quantize::plan_quantization(*source, arguments.quantize, log);
  const std::string facts = fmt::format("{} tensors ({}), {:.3f} bits per weight", plan.tensors.size(),
                                        type_counts(plan), plan.bits_per_weight());
  const std::vector<GgufWriter::File> files = quantize::output_files(
      plan, arguments.out.empty() ? source->config().name + ".gguf" : arguments.out, arguments.write.split);
  if (arguments.dry_run) {
    print_out(plan_text(plan, files));
    print_out(fmt::format("{}, {} of tensor data\n", facts, bytes_text(static_cast<double>(plan.tensor_bytes()))));
    flush_out();
    return 0;
  }
  for (const GgufWriter::File& file : files) arguments.files.writes(file.path, "OUT.gguf");
  check_files(arguments.files);
  if (team == nullptr) team = engine::make_team(arguments.threads, console.log());
  plan.identity =
      fmt::format("{} {} {} {}", program_version(), quantize::kQuantizeRevision, model_outline(arguments.in),
                  arguments.imatrix.empty() ? "" : file_identity(arguments.imatrix));
  console.info(fmt::format(
      "needs about {} of memory",
      bytes_text(static_cast<double>(resident_bytes() +
                                     quantize::working_bytes(plan, team->size(), arguments.write.low_memory)))));
  const QuantizeResult result = write_files(arguments, *source, plan, *team, console);
  std::uint64_t file_bytes = 0;
  for (const GgufWriter::File& file : result.files) file_bytes += file.bytes;
  const std::string others = files.size() > 1 ? fmt::format(" and {} more", files.size() - 1) : "";
  console.info(fmt::format("{}{}: {} bytes, {}, in {}", files.front().path.string(), others, file_bytes, facts,
                           duration_text(watch.seconds())));
  if (result.times.n_weights > 0) console.info(times_text(result.times));
  if (arguments.verify) verify_files(arguments, *source, plan, result, *team, console);
  return 0;
}

}  // namespace dodeca::runtime::cli
