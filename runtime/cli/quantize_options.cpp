#include "runtime/cli/quantize_options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <string_view>
#include <vector>

#include "runtime/cli/model_options.hpp"
#include "runtime/cli/options.hpp"
#include "runtime/cli/text_options.hpp"
#include "runtime/model/shapes.hpp"

namespace dodeca::runtime::cli {
namespace {

std::string writable_names() {
  std::vector<std::string_view> names;
  for (const quant::DType dtype : quantize::writable_types()) names.push_back(quant::name_of(dtype));
  return fmt::format("{}", fmt::join(names, " "));
}

std::string recipe_names() {
  std::vector<std::string_view> names;
  for (const quantize::Recipe* recipe : quantize::all_recipes()) names.push_back(recipe->name);
  return fmt::format("{}", fmt::join(names, " "));
}

quant::DType writable_type(std::string_view flag, const std::string& name) {
  const quant::TypeInfo* type = quant::find_type(name);
  if (type == nullptr) throw Usage(fmt::format("{}: no type is called '{}' (known: {})", flag, name, writable_names()));
  if (!quantize::is_writable(type->dtype)) {
    throw Usage(fmt::format("{}: {} cannot be written (what can: {})", flag, type->name, writable_names()));
  }
  return type->dtype;
}

// A type or a mixture, by one name.
void set_types(quantize::TypeChoice& types, std::string_view flag, const std::string& name) {
  if (const quantize::Recipe* recipe = quantize::find_recipe(name)) {
    types.recipe = recipe;
  } else if (quant::find_type(name) != nullptr) {
    types.uniform = writable_type(flag, name);
  } else {
    throw Usage(fmt::format("{}: no type or recipe is called '{}' (types: {}; recipes: {})", flag, name,
                            writable_names(), recipe_names()));
  }
}

// What the command line says before it is understood.
struct Words {
  std::vector<std::string> overrides;
  std::string habit_type, habit_threads, type, recipe, output, embedding, isa, split_bytes;
  std::int64_t split_tensors = 0;
};

void add_flags(Options& options, QuantizeArguments& parsed, Words& words) {
  options.positional("IN", parsed.in, "Hugging Face directory, GGUF, or the first file of a split one", false,
                     FileUse::kModel);
  options.positional("OUT.gguf", parsed.out, "the new file; one that is there is replaced when the new one is whole",
                     false, FileUse::kDeclared);
  options.positional("TYPE", words.habit_type, "type or recipe, where llama-quantize has it", false);
  options.positional("THREADS", words.habit_threads, "workers, where llama-quantize has them", false);
  options.value("--type", words.type, "one type for all matrices", "TYPE");
  options.value("--recipe", words.recipe,
                "a mixture: ud-q2_k_xl, as the published DeepSeek-V3-0324 file, or one of llama.cpp's; or a file that "
                "--save-recipe wrote",
                "NAME|FILE", FileUse::kReads);
  options.value("--imatrix", parsed.imatrix, "importance matrix (dodeca imatrix, or llama.cpp's): which columns matter",
                "FILE", FileUse::kReads);
  options.values("--tensor-type", words.overrides,
                 "type of the tensors whose name REGEX finds; the first that matches decides", "REGEX=TYPE");
  options.value("--output-tensor-type", words.output, "type of output.weight", "TYPE");
  options.value("--token-embedding-type", words.embedding, "type of token_embd.weight", "TYPE");
  parsed.allocation.add_flags(options);
  options.flag("--keep-mtp", parsed.quantize.keep_mtp, "keep the multi-token-prediction layer");
  options.flag("--fused-kv-b", parsed.quantize.fused_kv_b,
               "the older layout: attn_kv_b instead of attn_k_b and attn_v_b (with --target-size: in Q8_0)");
  options.values("--override-kv", parsed.quantize.override_kv,
                 "change metadata of the result and, where IN is a GGUF, of IN", "KEY=TYPE:VALUE,...");
  options.value("--isa", words.isa, "at most this instruction-set level (also DODECA_ISA): the file is the same",
                "LEVEL");
  options.value("-t,--threads", parsed.threads, "workers; -1: the default (one per physical core)", {-1, 4096});
  options.value("--split-max-size", words.split_bytes,
                "several files of at most this size: OUT-00001-of-0000N.gguf; 5G and 500M as in llama.cpp, or 5GiB",
                "SIZE");
  options.value("--split-max-tensors", words.split_tensors, "several files of at most so many tensors",
                {1, kNoMaximum});
  options.flag("--restart", parsed.write.restart, "begin anew, whatever an earlier run left unfinished in OUT.partial");
  options.flag("--low-memory", parsed.write.low_memory, "smaller pieces of work: less memory with many threads");
  options.flag("--verify", parsed.verify, "read the result back: checksums, and its error against IN by role");
  options.flag(
      "--dry-run", parsed.dry_run,
      "print tensors, types, sizes and bytes per token, write nothing; of IN only headers are read, and shards "
      "may be cut behind theirs");
  options.choice("--shape", parsed.shape, shape_names(), "with --dry-run: a published model's shapes instead of IN");
}

// What is read and what is written.
void set_files(QuantizeArguments& parsed, const Words& words, Options& options) {
  if (!words.split_bytes.empty()) parsed.write.split.max_bytes = parse_bytes("--split-max-size", words.split_bytes);
  parsed.write.split.max_tensors = static_cast<std::size_t>(words.split_tensors);
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
}

void choose_types(QuantizeArguments& parsed, const Words& words, const Options& options) {
  quantize::TypeChoice& types = parsed.quantize.types;
  const int n_given =
      !words.habit_type.empty() + !words.type.empty() + !words.recipe.empty() + parsed.allocation.asked();
  if (n_given == 0) throw Usage("a TYPE, --type, --recipe or --target-size is needed");
  if (n_given > 1) throw Usage("TYPE, --type, --recipe and --target-size exclude each other");
  parsed.allocation.check(options);
  if (!words.habit_type.empty()) set_types(types, "TYPE", words.habit_type);
  if (!words.type.empty()) set_types(types, "--type", words.type);
  if (!words.recipe.empty()) {
    types.recipe = quantize::find_recipe(words.recipe);
    if (types.recipe == nullptr && !std::filesystem::exists(words.recipe))
      throw Usage(
          fmt::format("--recipe: there is no file and no recipe '{}' (known: {})", words.recipe, recipe_names()));
    if (types.recipe == nullptr) types.file = quantize::read_recipe(words.recipe);
  }
  if (!words.output.empty()) types.output = writable_type("--output-tensor-type", words.output);
  if (!words.embedding.empty()) types.token_embedding = writable_type("--token-embedding-type", words.embedding);
  for (const std::string& text : words.overrides) {
    try {
      types.overrides.push_back(quantize::parse_override(text));
    } catch (const Error& error) {
      throw Usage(fmt::format("--tensor-type: {}", error.sentence()));
    }
  }
}

}  // namespace

void check_files(const FileRoles& files) {
  try {
    files.check();
  } catch (const Error& error) {
    throw Usage(error.sentence());
  }
}

QuantizeArguments parse_quantize(std::span<const std::string> args, Console& console) {
  QuantizeArguments parsed;
  Words words;
  Options options(
      "dodeca quantize",
      "Makes a quantized GGUF from a Hugging Face directory (FP8, packed INT4, BF16, F16, F32) or a GGUF.\n"
      "IN OUT.gguf TYPE is the same as IN OUT.gguf --type TYPE. A type is given to all matrices (llama-quantize's\n"
      "--pure); vectors and the router stay F32. Rows that a type's blocks do not divide get its fall-back.\n"
      "copy keeps every matrix in the type that it has. Packed INT4 is copied, not rounded, where Q4_0 is asked for.\n"
      "Types: " +
          writable_names() + ". Recipes: " + recipe_names() + ".",
      "dodeca quantize DeepSeek-V3-0324 v3.gguf --recipe ud-q2_k_xl");
  add_flags(options, parsed, words);
  console.add_flags(options);
  options.parse(args);

  check_overrides(parsed.quantize.override_kv);
  parsed.write.isa = parse_isa(words.isa);
  if (!words.habit_threads.empty())
    parsed.threads = static_cast<std::int32_t>(parse_integer("THREADS", words.habit_threads, {-1, 4096}));
  set_files(parsed, words, options);
  choose_types(parsed, words, options);
  return parsed;
}

}  // namespace dodeca::runtime::cli
