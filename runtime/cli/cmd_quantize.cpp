// dodeca quantize IN OUT.gguf: see quantize/ for the work.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include <chrono>
#include <filesystem>
#include <optional>

#include "runtime/cli/allocation_options.hpp"
#include "runtime/cli/command.hpp"
#include "runtime/cli/model_identity.hpp"
#include "runtime/cli/model_options.hpp"
#include "runtime/cli/quantize_report.hpp"
#include "runtime/cli/text_options.hpp"
#include "runtime/model/random_source.hpp"
#include "runtime/model/shapes.hpp"
#include "runtime/quantize/quantize.hpp"

namespace dodeca::runtime::cli {
namespace {

std::string writable_names() {
  std::vector<std::string_view> names;
  for (const quant::DType dtype : writable_types()) names.push_back(quant::name_of(dtype));
  return fmt::format("{}", fmt::join(names, " "));
}

std::string recipe_names() {
  std::vector<std::string_view> names;
  for (const Recipe* recipe : all_recipes()) names.push_back(recipe->name);
  return fmt::format("{}", fmt::join(names, " "));
}

quant::DType writable_type(std::string_view flag, const std::string& name) {
  const quant::TypeInfo* type = quant::find_type(name);
  if (type == nullptr) throw Usage(fmt::format("{}: no type is called '{}' (known: {})", flag, name, writable_names()));
  if (!is_writable(type->dtype)) {
    throw Usage(fmt::format("{}: {} cannot be written (what can: {})", flag, type->name, writable_names()));
  }
  return type->dtype;
}

// A type or a mixture, by one name.
void set_types(TypeChoice& types, std::string_view flag, const std::string& name) {
  if (const Recipe* recipe = find_recipe(name)) {
    types.recipe = recipe;
  } else if (quant::find_type(name) != nullptr) {
    types.uniform = writable_type(flag, name);
  } else {
    throw Usage(fmt::format("{}: no type or recipe is called '{}' (types: {}; recipes: {})", flag, name,
                            writable_names(), recipe_names()));
  }
}

struct Arguments {
  std::string in, out, shape;
  std::int32_t threads = 0;
  bool dry_run = false, verify = false;
  std::string imatrix;
  AllocationOptions allocation;
  QuantizeOptions quantize;
  WriteOptions write;
  FileRoles files;
};

void check_files(const FileRoles& files) {
  try {
    files.check();
  } catch (const Error& error) {
    throw Usage(error.sentence());
  }
}

Arguments parse_quantize(std::span<const std::string> args, Console& console) {
  Arguments parsed;
  std::vector<std::string> overrides;
  std::string habit_type, habit_threads, type, recipe, output, embedding, isa, split_bytes;
  std::int64_t split_tensors = 0;
  Options options(
      "dodeca quantize",
      "Makes a quantized GGUF from a Hugging Face directory (FP8, BF16, F16, F32) or a GGUF.\n"
      "IN OUT.gguf TYPE is the same as IN OUT.gguf --type TYPE. A type is given to all matrices (llama-quantize's\n"
      "--pure); vectors and the router stay F32. Rows that a type's blocks do not divide get its fall-back.\n"
      "Types: " +
          writable_names() + ". Recipes: " + recipe_names() + ".",
      "dodeca quantize DeepSeek-V3-0324 v3.gguf --recipe ud-q2_k_xl");
  options.positional("IN", parsed.in, "Hugging Face directory, GGUF, or the first file of a split one", false,
                     FileUse::kModel);
  options.positional("OUT.gguf", parsed.out, "the new file; one that is there is replaced when the new one is whole",
                     false, FileUse::kDeclared);
  options.positional("TYPE", habit_type, "type or recipe, where llama-quantize has it", false);
  options.positional("THREADS", habit_threads, "workers, where llama-quantize has them", false);
  options.value("--type", type, "one type for all matrices", "TYPE");
  options.value("--recipe", recipe,
                "a mixture: ud-q2_k_xl, as the published DeepSeek-V3-0324 file, or one of llama.cpp's; or a file that "
                "--save-recipe wrote",
                "NAME|FILE", FileUse::kReads);
  options.value("--imatrix", parsed.imatrix, "importance matrix (dodeca imatrix, or llama.cpp's): which columns matter",
                "FILE", FileUse::kReads);
  options.values("--tensor-type", overrides,
                 "type of the tensors whose name REGEX finds; the first that matches decides", "REGEX=TYPE");
  options.value("--output-tensor-type", output, "type of output.weight", "TYPE");
  options.value("--token-embedding-type", embedding, "type of token_embd.weight", "TYPE");
  parsed.allocation.add_flags(options);
  options.flag("--keep-mtp", parsed.quantize.keep_mtp, "keep the multi-token-prediction layer");
  options.flag("--fused-kv-b", parsed.quantize.fused_kv_b,
               "the older layout: attn_kv_b instead of attn_k_b and attn_v_b (with --target-size: in Q8_0)");
  options.values("--override-kv", parsed.quantize.override_kv,
                 "change metadata of the result and, where IN is a GGUF, of IN", "KEY=TYPE:VALUE,...");
  options.value("--isa", isa, "at most this instruction-set level (also DODECA_ISA): the file is the same", "LEVEL");
  options.value("-t,--threads", parsed.threads, "workers; -1: the default (one per physical core)", {-1, 4096});
  options.value("--split-max-size", split_bytes,
                "several files of at most this size: OUT-00001-of-0000N.gguf; 5G and 500M as in llama.cpp, or 5GiB",
                "SIZE");
  options.value("--split-max-tensors", split_tensors, "several files of at most so many tensors", {1, kNoMaximum});
  options.flag("--restart", parsed.write.restart, "begin anew, whatever an earlier run left unfinished in OUT.partial");
  options.flag("--low-memory", parsed.write.low_memory, "smaller pieces of work: less memory with many threads");
  options.flag("--verify", parsed.verify, "read the result back: checksums, and its error against IN by role");
  options.flag(
      "--dry-run", parsed.dry_run,
      "print tensors, types, sizes and bytes per token, write nothing; of IN only headers are read, and shards "
      "may be cut behind theirs");
  options.choice("--shape", parsed.shape, shape_names(), "with --dry-run: a published model's shapes instead of IN");
  console.add_flags(options);
  options.parse(args);

  check_overrides(parsed.quantize.override_kv);
  parsed.write.isa = parse_isa(isa);
  if (!split_bytes.empty()) parsed.write.split.max_bytes = parse_bytes("--split-max-size", split_bytes);
  parsed.write.split.max_tensors = static_cast<std::size_t>(split_tensors);
  parsed.files = options.files();
  if (!parsed.out.empty() && !parsed.dry_run)
    GgufWriter::declare(parsed.files, parsed.out, "OUT.gguf", parsed.write.split);
  check_files(parsed.files);
  if (!parsed.shape.empty()) {
    if (!parsed.dry_run) throw Usage("--shape goes with --dry-run: it has no weights");
    if (!parsed.in.empty()) throw Usage("--shape takes the place of IN");
  } else if (parsed.in.empty()) {
    throw Usage("IN is missing: a Hugging Face directory or a GGUF");
  } else if (parsed.out.empty() && !parsed.dry_run) {
    throw Usage("OUT.gguf is missing");
  }
  if (!parsed.out.empty()) refuse_stream("OUT.gguf", parsed.out);
  TypeChoice& types = parsed.quantize.types;
  const int n_given = !habit_type.empty() + !type.empty() + !recipe.empty() + parsed.allocation.asked();
  if (n_given == 0) throw Usage("a TYPE, --type, --recipe or --target-size is needed");
  if (n_given > 1) throw Usage("TYPE, --type, --recipe and --target-size exclude each other");
  parsed.allocation.check(options);
  if (!habit_type.empty()) set_types(types, "TYPE", habit_type);
  if (!habit_threads.empty()) {
    parsed.threads = static_cast<std::int32_t>(parse_integer("THREADS", habit_threads, {-1, 4096}));
  }
  if (!type.empty()) set_types(types, "--type", type);
  if (!recipe.empty()) {
    types.recipe = find_recipe(recipe);
    if (types.recipe == nullptr && !std::filesystem::exists(recipe))
      throw Usage(fmt::format("--recipe: there is no file and no recipe '{}' (known: {})", recipe, recipe_names()));
    if (types.recipe == nullptr) types.file = read_recipe(recipe);
  }
  if (!output.empty()) types.output = writable_type("--output-tensor-type", output);
  if (!embedding.empty()) types.token_embedding = writable_type("--token-embedding-type", embedding);
  for (const std::string& text : overrides) {
    try {
      types.overrides.push_back(parse_override(text));
    } catch (const Error& error) {
      throw Usage(fmt::format("--tensor-type: {}", error.sentence()));
    }
  }
  return parsed;
}

std::unique_ptr<WeightSource> open_source(const Arguments& arguments, const Log& log) {
  if (!arguments.shape.empty())
    return random_weights(
        published_shape(arguments.shape), [](const WantedWeight&) { return quant::DType::kBF16; }, 1);
  SourceOptions options{.headers_only = arguments.dry_run};
  if (!std::filesystem::is_directory(arguments.in)) options.override_kv = arguments.quantize.override_kv;
  return open_weights(arguments.in, options, log);
}

std::uint64_t resident_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

QuantizeResult write_files(const Arguments& arguments, const WeightSource& source, const QuantizePlan& plan,
                           cpu::Team& team, const Console& console) {
  try {
    ProgressBar bar(console, "quantizing", "MB", 1e6);
    QuantizeResult result = quantize(source, plan, arguments.out, team, bar.callback(), console.log(), arguments.write);
    bar.finish();
    return result;
  } catch (...) {
    if (const auto unfinished = GgufWriter::log_of(arguments.out, arguments.write.split);
        std::filesystem::exists(unfinished))
      console.info(fmt::format("what is finished stays beside {}: the command that began it goes on from there",
                               unfinished.string()));
    throw;
  }
}

void verify_files(const Arguments& arguments, const WeightSource& source, const QuantizePlan& plan,
                  const QuantizeResult& result, cpu::Team& team, const Console& console) {
  ProgressBar bar(console, "verifying", "MB", 1e6);
  const Verification found = verify(source, plan, result, team, bar.callback(), arguments.write.low_memory);
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
  Arguments arguments = parse_quantize(args, console);
  const Log log = [shape = !arguments.shape.empty(), say = console.log()](Level level, std::string_view line) {
    if (!shape || level != Level::kWarning) say(level, line);  // that a shape has no vocabulary
  };
  const auto start = std::chrono::steady_clock::now();
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
    team = make_team(arguments.threads, console);
    arguments.allocation.choose(*source, arguments.quantize, *team, arguments.write.isa, console);
  }
  QuantizePlan plan = plan_quantization(*source, arguments.quantize, log);
  const std::string facts = fmt::format("{} tensors ({}), {:.3f} bits per weight", plan.tensors.size(),
                                        type_counts(plan), plan.bits_per_weight());
  const std::vector<GgufWriter::File> files = output_files(
      plan, arguments.out.empty() ? source->config().name + ".gguf" : arguments.out, arguments.write.split);
  if (arguments.dry_run) {
    print_out(plan_text(plan, files));
    print_out(fmt::format("{}, {} of tensor data\n", facts, bytes_text(static_cast<double>(plan.tensor_bytes()))));
    flush_out();
    return 0;
  }
  for (const GgufWriter::File& file : files) arguments.files.writes(file.path, "OUT.gguf");
  check_files(arguments.files);
  if (team == nullptr) team = make_team(arguments.threads, console);
  plan.identity = fmt::format("{} {} {} {}", program_version(), kQuantizeRevision, model_outline(arguments.in),
                              arguments.imatrix.empty() ? "" : file_identity(arguments.imatrix));
  console.info(fmt::format("needs about {} of memory",
                           bytes_text(static_cast<double>(
                               resident_bytes() + working_bytes(plan, team->size(), arguments.write.low_memory)))));
  const QuantizeResult result = write_files(arguments, *source, plan, *team, console);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::uint64_t file_bytes = 0;
  for (const GgufWriter::File& file : result.files) file_bytes += file.bytes;
  const std::string others = files.size() > 1 ? fmt::format(" and {} more", files.size() - 1) : "";
  console.info(fmt::format("{}{}: {} bytes, {}, in {}", files.front().path.string(), others, file_bytes, facts,
                           duration_text(seconds)));
  if (result.times.n_weights > 0) console.info(times_text(result.times));
  if (arguments.verify) verify_files(arguments, *source, plan, result, *team, console);
  return 0;
}

}  // namespace dodeca::runtime::cli
