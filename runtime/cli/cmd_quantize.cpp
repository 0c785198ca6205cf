// dodeca quantize IN OUT.gguf: see quantize/ for the work.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>

#include "runtime/cli/command.hpp"
#include "runtime/cli/model_identity.hpp"
#include "runtime/cli/model_options.hpp"
#include "runtime/cli/text_options.hpp"
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

void print_plan(const QuantizePlan& plan) {
  for (const OutputTensor& tensor : plan.tensors) {
    print_out(fmt::format("{:<44} {:<8} [{}] {}\n", tensor.name, quant::name_of(tensor.dtype),
                          fmt::join(tensor.dims, ", "), bytes_text(static_cast<double>(tensor.bytes()))));
  }
}

// "Q2_K 10, Q3_K 5, F32 61"
std::string type_counts(const QuantizePlan& plan) {
  std::map<quant::DType, int> counts;
  for (const OutputTensor& tensor : plan.tensors) ++counts[tensor.dtype];
  std::vector<std::string> parts;
  for (const auto& [dtype, count] : counts) parts.push_back(fmt::format("{} {}", quant::name_of(dtype), count));
  return fmt::format("{}", fmt::join(parts, ", "));
}

// The source stays open while the new file takes its place under the same name: refused, as a failure would leave
// neither.
void refuse_same_file(const std::filesystem::path& in, const std::filesystem::path& out) {
  std::error_code ignored;
  if (std::filesystem::equivalent(in, out, ignored))
    throw Usage(fmt::format("IN and OUT.gguf are the same file: {}", out.string()));
  if (std::filesystem::is_directory(out, ignored))
    throw Usage(fmt::format("OUT.gguf is a directory: {}", out.string()));
}

struct Arguments {
  std::string in, out;
  std::int32_t threads = 0;
  bool dry_run = false;
  cpu::Isa isa{};
  std::string imatrix;
  QuantizeOptions quantize;
};

Arguments parse_quantize(std::span<const std::string> args, Console& console) {
  Arguments parsed;
  std::vector<std::string> overrides;
  std::string habit_type, habit_threads, type, recipe, output, embedding, isa;
  bool pure = false, allow_requantize = false;
  Options options(
      "dodeca quantize",
      "Makes a quantized GGUF from a Hugging Face directory (FP8, BF16, F16, F32) or a GGUF.\n"
      "IN OUT.gguf TYPE is the same as IN OUT.gguf --type TYPE. A type is given to all matrices (llama-quantize's\n"
      "--pure); vectors and the router stay F32. Rows that a type's blocks do not divide get its fall-back.\n"
      "Types: " +
          writable_names() + ". Recipes: " + recipe_names() + ".",
      "dodeca quantize DeepSeek-V3-0324 v3.gguf --recipe ud-q2_k_xl");
  options.positional("IN", parsed.in, "Hugging Face directory, GGUF, or the first file of a split one");
  options.positional("OUT.gguf", parsed.out, "the new file; one that is there is replaced when the new one is whole");
  options.positional("TYPE", habit_type, "type or recipe, where llama-quantize has it", false);
  options.positional("THREADS", habit_threads, "workers, where llama-quantize has them", false);
  options.value("--type", type, "one type for all matrices", "TYPE");
  options.value("--recipe", recipe,
                "a mixture: ud-q2_k_xl, as the published DeepSeek-V3-0324 file, or one of llama.cpp's", "NAME");
  options.value("--imatrix", parsed.imatrix, "importance matrix (dodeca imatrix, or llama.cpp's): which columns matter",
                "FILE");
  options.values("--tensor-type", overrides,
                 "type of the tensors whose name REGEX finds; the first that matches decides", "REGEX=TYPE");
  options.value("--output-tensor-type", output, "type of output.weight", "TYPE");
  options.value("--token-embedding-type", embedding, "type of token_embd.weight", "TYPE");
  options.flag("--keep-mtp", parsed.quantize.keep_mtp, "keep the multi-token-prediction layer");
  options.values("--override-kv", parsed.quantize.override_kv, "change metadata of the result", "KEY=TYPE:VALUE");
  options.value("--isa", isa, "at most this instruction-set level (also DODECA_ISA): the file is the same", "LEVEL");
  options.value("-t,--threads", parsed.threads, "workers; default: one per physical core", {1, 4096});
  options.flag("--dry-run", parsed.dry_run, "print tensors, types and size, write nothing");
  options.flag("--pure", pure, "accepted: a TYPE is always given to all matrices");
  options.flag("--allow-requantize", allow_requantize, "accepted: quantized sources are taken, with a warning");
  console.add_flags(options);
  options.parse(args);

  parsed.isa = parse_isa(isa);
  TypeChoice& types = parsed.quantize.types;
  const int n_given = !habit_type.empty() + !type.empty() + !recipe.empty();
  if (n_given == 0) throw Usage("a TYPE, --type or --recipe is needed");
  if (n_given > 1) throw Usage("TYPE, --type and --recipe exclude each other");
  if (!habit_type.empty()) set_types(types, "TYPE", habit_type);
  if (!habit_threads.empty()) {
    parsed.threads = static_cast<std::int32_t>(parse_integer("THREADS", habit_threads, {1, 4096}));
  }
  if (!type.empty()) set_types(types, "--type", type);
  if (!recipe.empty()) {
    types.recipe = find_recipe(recipe);
    if (types.recipe == nullptr)
      throw Usage(fmt::format("--recipe: no recipe is called '{}' (known: {})", recipe, recipe_names()));
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

}  // namespace

int cmd_quantize(std::span<const std::string> args) {
  Console console;
  Arguments arguments = parse_quantize(args, console);
  refuse_same_file(arguments.in, arguments.out);
  const Log log = console.log();
  const auto start = std::chrono::steady_clock::now();
  const std::unique_ptr<WeightSource> source = open_weights(arguments.in, {}, log);
  std::optional<ImportanceMatrix> imatrix;
  if (!arguments.imatrix.empty()) {
    imatrix = ImportanceMatrix::read(arguments.imatrix);
    arguments.quantize.imatrix = &*imatrix;
    arguments.quantize.imatrix_file = arguments.imatrix;
    console.info(fmt::format("importance matrix: {} entries, {} chunks", imatrix->entries.size(), imatrix->n_chunks));
  }
  QuantizePlan plan = plan_quantization(*source, arguments.quantize, log);
  const std::string facts = fmt::format("{} tensors ({}), {:.3f} bits per weight", plan.tensors.size(),
                                        type_counts(plan), plan.bits_per_weight());
  if (arguments.dry_run) {
    print_plan(plan);
    print_out(fmt::format("{}, {} of tensor data\n", facts, bytes_text(static_cast<double>(plan.tensor_bytes()))));
    flush_out();
    return 0;
  }
  const std::unique_ptr<cpu::Team> team = make_team(arguments.threads, console);
  plan.identity = fmt::format("{} {} {} {}", program_version(), kQuantizeRevision, model_identity(arguments.in),
                              arguments.imatrix.empty() ? "" : model_identity(arguments.imatrix));
  try {
    ProgressBar bar(console, "quantizing", "MB", 1e6);
    quantize(*source, plan, arguments.out, *team, bar.callback(), log, arguments.isa);
    bar.finish();
  } catch (...) {
    if (std::filesystem::exists(arguments.out + ".partial"))
      console.info(
          fmt::format("what is finished stays in {}.partial: the same command goes on from there", arguments.out));
    throw;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  console.info(fmt::format("{}: {} bytes, {}, in {}", arguments.out, std::filesystem::file_size(arguments.out), facts,
                           duration_text(seconds)));
  return 0;
}

}  // namespace dodeca::runtime::cli
