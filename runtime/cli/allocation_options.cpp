#include "runtime/cli/allocation_options.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <span>

#include "runtime/allocate/choose_types.hpp"
#include "runtime/allocate/sensitivity_file.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/cli/model_identity.hpp"
#include "runtime/cli/text_options.hpp"
#include "runtime/exec/executor.hpp"
#include "runtime/exec/kv_cache.hpp"
#include "runtime/model/random_source.hpp"
#include "runtime/model/weight_name.hpp"
#include "runtime/text/tokenizer.hpp"

namespace dodeca::runtime::cli {
namespace {

using allocate::AllocationRequest;
using allocate::MeterOptions;

constexpr std::int64_t kChunkTokens = 512;
constexpr quant::DType kUnallocated = quant::DType::kQ4_K;  // MTP layers
constexpr std::string_view kFusedPattern = "attn_kv_b", kFusedType = "Q8_0";
// Of the memory that the operating system and the program itself need.
constexpr std::uint64_t kReserveShare = 32;

// Exponent of the bytes per token in what is made small: at 0.25 a tenth fewer bytes may cost 2.7 % of divergence.
double speed_weight_of(const std::string& objective) {
  if (objective == "speed") return 1;
  return objective == "balanced" ? 0.25 : 0;
}

std::vector<quant::DType> parse_types(const std::string& list) {
  std::vector<quant::DType> types;
  const std::vector<quant::DType> known = allocate::allocatable_types();
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    const std::string name = list.substr(begin, end - begin);
    const quant::TypeInfo* type = quant::find_type(name);
    if (type == nullptr || std::ranges::find(known, type->dtype) == known.end())
      throw Usage(fmt::format("--types: '{}' is no quantized type that can be written", name));
    types.push_back(type->dtype);
    begin = end + 1;
  }
  return types;
}

MeterOptions calibration_windows(const WeightSource& source, const std::string& file, std::int64_t max_chunks,
                                 cpu::Isa isa) {
  const Tokenizer tokenizer = open_tokenizer(source.path(), {});
  const std::vector<TokenId> ids = tokenizer.encode(read_text_file(file), {true, false});
  MeterOptions options{.tokens = {ids.begin(), ids.end()}, .n_ctx = kChunkTokens, .isa = isa};
  const auto n_ids = static_cast<std::int64_t>(ids.size());
  options.n_windows = std::min(max_chunks, n_ids / kChunkTokens);
  if (options.n_windows == 0)
    throw Error(ErrorKind::kBadRequest,
                fmt::format("{} has {} tokens; a chunk of {} is the least to measure on", file, n_ids, kChunkTokens));
  // Chunks from all over the text: sorts of text often come one after the other.
  const std::int64_t stride = n_ids / kChunkTokens / options.n_windows * kChunkTokens;
  for (std::int64_t w = 0; w < options.n_windows; ++w)
    std::copy_n(ids.begin() + w * stride, kChunkTokens, options.tokens.begin() + w * kChunkTokens);
  options.tokens.resize(options.n_windows * kChunkTokens);
  return options;
}

// Of the very tokens: the text, the vocabulary and how many chunks there are.
std::string text_identity(const MeterOptions& options) {
  Checksum sum;
  sum.add(std::as_bytes(std::span(options.tokens)));
  return fmt::format("{} chunks of {}:{:016x}", options.n_windows, options.n_ctx, sum.value());
}

void print_table(const allocate::TypeAllocation& allocation, const Console& console) {
  struct Line {
    std::map<quant::DType, int> counts;
    std::uint64_t bytes = 0;
    std::int64_t weights = 0;
    double divergence = 0;
  };
  std::map<std::string_view, Line> lines;
  const Log log = console.log();
  for (const allocate::AllocatedTensor& t : allocation.tensors) {
    log(Level::kDetail, fmt::format("{}: {}, expected divergence {:.6f}, {:.4g} per relative squared error",
                                    t.tensor->name, quant::name_of(t.dtype), t.divergence, t.sensitivity));
    Line& line = lines[kind_of(t.tensor->name)];
    ++line.counts[t.dtype];
    line.bytes += t.bytes;
    line.weights += t.tensor->weight->n_elements();
    line.divergence += t.divergence;
  }
  console.info("| tensors | types | size | bits per weight | expected divergence |");
  console.info("|---|---|--:|--:|--:|");
  for (const auto& [kind, line] : lines) {
    std::string types;
    for (const auto& [dtype, count] : line.counts) {
      types += types.empty() ? "" : ", ";
      types += count > 1 ? fmt::format("{} x {}", count, quant::name_of(dtype)) : std::string(quant::name_of(dtype));
    }
    console.info(fmt::format("| {} | {} | {} | {:.2f} | {:.5f} |", kind, types,
                             bytes_text(static_cast<double>(line.bytes)),
                             8 * static_cast<double>(line.bytes) / static_cast<double>(line.weights), line.divergence));
  }
}

}  // namespace

void AllocationOptions::add_flags(Options& options) {
  options.value("--target-bpw", target_bpw, "choose types so that all weights together take X bits each", {0.1, 32});
  options.value("--target-size", target_size, "choose types so that the file takes at most so much", "SIZE");
  options.value("--fit-ram", fit_ram, "choose types so that model, cache and work space run in so much memory", "SIZE");
  options.value("--vram", vram, "with --fit-ram: memory of a card for the cache and all but the routed experts",
                "SIZE");
  options.value("-c,--ctx-size,--context", context, "tokens of context that --fit-ram leaves room for (default: 8192)",
                {1});
  options.value("--calibration", calibration,
                "measure on this text how much each part of the model matters; without: estimates", "FILE",
                FileUse::kReads);
  options.value("--calibration-chunks", chunks, "chunks of 512 tokens of it (default: 8)", {1});
  options.value("--sensitivities", sensitivities,
                "keep what --calibration measures in this file: the next size takes it from there, with or without "
                "--calibration",
                "FILE", FileUse::kWrites);
  options.choice("--objective", objective, {"quality", "balanced", "speed"},
                 "what counts besides quality: bytes read per generated token");
  options.value("--types", types, "choose among these only (default: every quantized type)", "TYPE,...");
  options.value("--save-recipe", save_recipe, "write the choice as a recipe that --recipe FILE takes", "FILE",
                FileUse::kWrites);
}

void AllocationOptions::check(const Options& options) const {
  const int n = !target_size.empty() + !fit_ram.empty() + (target_bpw > 0);
  if (n > 1) throw Usage("--target-bpw, --target-size and --fit-ram exclude each other");
  for (const char* name : {"--calibration", "--sensitivities", "--objective", "--types", "--save-recipe"}) {
    if (n == 0 && options.given(name))
      throw Usage(fmt::format("{} goes with --target-bpw, --target-size or --fit-ram", name));
  }
  if (!target_size.empty()) parse_bytes("--target-size", target_size);
  if (!fit_ram.empty()) parse_bytes("--fit-ram", fit_ram);
  if (!vram.empty() && fit_ram.empty()) throw Usage("--vram goes with --fit-ram");
  if (options.given("-c") && fit_ram.empty())
    throw Usage(fmt::format("{} goes with --fit-ram", options.spelling("-c")));
  if (options.given("--calibration-chunks") && calibration.empty())
    throw Usage("--calibration-chunks goes with --calibration");
  if (!sensitivities.empty() && calibration.empty() && !std::filesystem::exists(sensitivities))
    throw Usage(fmt::format("--sensitivities: there is no file '{}' yet, and no --calibration TEXT to measure on",
                            sensitivities));
  if (!vram.empty()) parse_bytes("--vram", vram);
  if (!types.empty()) parse_types(types);
}

void AllocationOptions::set_sizes(AllocationRequest& request, const ModelConfig& config, int n_threads) const {
  request.max_bits_per_weight = target_bpw;
  if (!target_size.empty()) request.max_file_bytes = parse_bytes("--target-size", target_size);
  if (fit_ram.empty()) return;
  const auto fit = [&](std::string_view flag, const std::string& text, std::uint64_t needs) {
    const std::uint64_t bytes = parse_bytes(flag, text);
    needs += bytes / kReserveShare;
    if (needs >= bytes)
      throw Error(ErrorKind::kDoesNotFit,
                  fmt::format("a context of {} needs {} beside the weights, and {} says {}", context,
                              bytes_text(static_cast<double>(needs)), flag, bytes_text(static_cast<double>(bytes))));
    return bytes - needs;
  };
  const exec::ExecutorOptions run{.n_positions = context};
  // Work space depends little on the types, which are not chosen yet.
  const auto typical = [](const WantedWeight& w) { return quantize::fitting_type(quant::DType::kQ4_K, w.n_in); };
  const Plan plan = make_plan(config, random_weight_infos(config, typical), {}, this_machine(), {});
  const std::uint64_t cache = exec::KvCache::bytes_needed(config, run.cache_options(plan)),
                      all = exec::Executor::bytes_needed(plan, run, n_threads);
  if (!vram.empty()) request.card_bytes = fit("--vram", vram, cache);
  request.max_file_bytes = fit("--fit-ram", fit_ram, vram.empty() ? all : all - cache);
}

void AllocationOptions::use_sensitivities(AllocationRequest& request, const WeightSource& source,
                                          const quantize::QuantizeOptions& options, const Console& console) const {
  allocate::SensitivityFile file{.model = model_outline(source.path()),
                                 .importance = options.imatrix != nullptr ? file_identity(options.imatrix_file) : "",
                                 .calibration = request.calibration ? text_identity(*request.calibration) : "",
                                 .sensitivities = {}};
  if (std::filesystem::exists(sensitivities)) {
    allocate::SensitivityFile found = allocate::read_sensitivities(sensitivities);
    const bool same = found.model == file.model && found.importance == file.importance &&
                      (!request.calibration || found.calibration == file.calibration);
    if (!same && !request.calibration)
      throw Error(ErrorKind::kBadRequest, fmt::format("{} was measured on another model or with another importance "
                                                      "matrix: --calibration TEXT measures anew",
                                                      sensitivities));
    if (same)
      request.known = std::move(found.sensitivities);
    else
      console.info(fmt::format("{} is of another model, text or importance matrix: measured anew", sensitivities));
  }
  request.on_measured = [file, path = sensitivities](const allocate::Sensitivities& measured) mutable {
    file.sensitivities = measured;
    allocate::write_sensitivities(file, path);
  };
}

void AllocationOptions::choose(const WeightSource& source, quantize::QuantizeOptions& options, cpu::Team& team,
                               cpu::Isa isa, const Console& console) const {
  options.types.uniform = kUnallocated;
  // attn_kv_b is none of the source's weights, whose errors are known: it has a type of its own, the others share the rest.
  if (options.fused_kv_b) options.types.overrides.push_back(quantize::make_override(kFusedPattern, kFusedType));
  // What is to be said is said of the plan that follows.
  const quantize::QuantizePlan plan = quantize::plan_quantization(source, options, [](Level, std::string_view) {});
  AllocationRequest request{.speed_weight = speed_weight_of(objective), .calibration = {}, .isa = isa};
  set_sizes(request, source.config(), team.size());
  if (!types.empty()) request.types = parse_types(types);
  if (!calibration.empty()) request.calibration = calibration_windows(source, calibration, chunks, isa);
  if (!sensitivities.empty()) use_sensitivities(request, source, options, console);
  if (!request.calibration && request.known.empty())
    console.warn("without --calibration the parts of the model are weighted by estimates made on a small model");
  if (options.imatrix == nullptr)
    console.warn("without --imatrix every column of a weight counts alike; the choice is better with one");

  std::unique_ptr<ProgressBar> bar;
  allocate::TypeAllocation allocation =
      allocate::choose_types(source, plan, options.types, request, team, [&](std::string_view name) -> Progress {
        bar = std::make_unique<ProgressBar>(console, std::string(name), "");
        return bar->callback();
      });
  bar.reset();
  if (options.fused_kv_b) allocation.recipe.rules.push_back(quantize::make_override(kFusedPattern, kFusedType));
  print_table(allocation, console);
  console.info(fmt::format("chosen for {} bytes: expected divergence {:.5f}{}{}", allocation.file_bytes,
                           allocation.divergence,
                           allocation.bound > 0 ? fmt::format(" (no choice is below {:.5f})", allocation.bound) : "",
                           allocation.measured ? fmt::format(", measured {:.5f}", *allocation.measured) : ""));
  if (!save_recipe.empty()) {
    quantize::write_recipe(allocation.recipe, save_recipe);
    console.info(fmt::format("recipe: {}", save_recipe));
  }
  options.types.uniform.reset();
  options.types.file = allocation.recipe;
}

}  // namespace dodeca::runtime::cli
