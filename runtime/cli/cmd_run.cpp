// dodeca run: completes a text, or chats.
#include <fmt/core.h>
#include <sys/resource.h>

#include <filesystem>
#include <optional>
#include <random>

#include "runtime/cli/chat.hpp"
#include "runtime/cli/command.hpp"
#include "runtime/cli/load_model.hpp"
#include "runtime/cli/model_identity.hpp"
#include "runtime/cli/prompt_cache.hpp"
#include "runtime/cli/text_options.hpp"

namespace dodeca::runtime::cli {
namespace {

using engine::Engine;
using engine::FinishReason;
using exec::KvCache;

struct RunOptions {
  ModelOptions model;
  SamplingOptions sampling;
  TemplateOptions chat_template;
  EscapeOptions escapes;
  std::string prompt, file, system, system_file, prompt_cache;
  std::vector<std::string> stop;
  std::int64_t n_predict = -1;
  bool chat = false, no_chat = false, single_turn = false, no_display_prompt = false, ignore_eos = false,
       keep_prompt_cache = false;

  void add_flags(Options& options) {
    model.add_flags(options);
    model.add_engine_flags(options);
    options.value("-p,--prompt", prompt, "complete this text; with -cnv: the first message");
    options.value("-f,--file", file,
                  "the same from a file, as it is but for one line end at its end; -: standard input", "FILE",
                  FileUse::kReads);
    options.value("-n,--predict,--n-predict", n_predict,
                  "tokens to generate; -1: until the end or the context is full (default: -1)", {-2});
    options.flag("-cnv,--conversation", chat, "chat; also what happens without a prompt on a terminal");
    options.flag("-no-cnv,--no-conversation", no_chat, "complete raw text whatever else is there");
    options.value("-sys,--system-prompt", system, "chat: the system message");
    options.value("-sysf,--system-prompt-file,-spf", system_file, "the same from a file", "FILE", FileUse::kReads);
    options.flag("-st,--single-turn", single_turn, "chat: one turn and out");
    escapes.add_flags(options, "-p, -sys and --stop");
    options.flag("--no-display-prompt", no_display_prompt, "print the completion without the prompt");
    options.value("--prompt-cache", prompt_cache, "save the processed prompt there and use it the next time", "FILE",
                  FileUse::kWrites);
    options.flag("--prompt-cache-ro", keep_prompt_cache, "use that file and leave it as it is");
    options.values("--stop,-r,--reverse-prompt", stop, "end before this text (repeatable)");
    options.flag("--ignore-eos", ignore_eos, "never sample an end-of-generation token");
    sampling.add_flags(options, "seed of the draws; -1: random, and printed (default: -1)");
    chat_template.add_flags(options);
  }
};

// Editors and echo put a line end there that nobody meant.
std::string text_without_last_line_end(const std::string& file) {
  std::string text = read_text_file(file);
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

// What the end says: tokens and speeds, load time, memory.
void print_statistics(const Console& console, const LoadedModel& loaded, const Engine& engine) {
  const engine::EngineStats& stats = engine.stats();
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto rate = [](std::int64_t tokens, double seconds) {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
  };
  // A prompt's step gives its first token too.
  const std::int64_t n_stepped = std::max<std::int64_t>(0, stats.generated_tokens - 1);
  std::string line = fmt::format("prompt: {} tokens, {:.1f} tokens/s", stats.prompt_tokens,
                                 rate(stats.prompt_tokens, stats.prompt_seconds));
  if (stats.reused_tokens > 0) line += fmt::format(" ({} more were in the cache)", stats.reused_tokens);
  line += fmt::format("; generation: {} tokens, {:.1f} tokens/s", stats.generated_tokens,
                      rate(n_stepped, stats.generation_seconds));
  console.info(line);
  if (const std::string drafts = drafts_text(engine); !drafts.empty()) console.info(drafts);
  console.info(fmt::format("load: {:.2f} s; memory: {} at its peak", loaded.load_seconds,
                           bytes_text(static_cast<double>(usage.ru_maxrss) * 1024.0)));
  if (loaded.cluster != nullptr) console.info(loaded.cluster->statistics());
  if (engine::EnergyMeter& energy = *loaded.energy; energy.counts())
    console.info("energy: " + energy.text(energy.read(), static_cast<double>(stats.generated_tokens)));
}

// The tokens that came back. The cache file is a help: a missing one is normal, one that is damaged or of another model
// is said and not used.
std::vector<std::int32_t> restore_prompt(const std::string& path, const std::string& identity, Engine& engine,
                                         KvCache& cache, const Console& console) {
  if (!std::filesystem::exists(path)) return {};
  try {
    const std::int32_t sequence = engine.free_sequence();
    std::vector<std::int32_t> tokens = load_prompt_cache(path, identity, cache, sequence);
    engine.keep(sequence, tokens);
    return tokens;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kBadRequest) throw;
    console.warn(fmt::format("{}; the prompt is processed anew", error.what()));
    return {};
  }
}

void save_prompt(const std::string& path, const std::string& identity, Engine& engine, KvCache& cache,
                 const std::vector<std::int32_t>& prompt, const Console& console) {
  const Engine::Kept kept = engine.find_kept(prompt);
  if (kept.n != static_cast<std::int64_t>(prompt.size())) return;  // stopped before it was processed
  // Generation may have gone on in this sequence; only the prompt is saved.
  cache.truncate(kept.sequence, kept.n);
  engine.keep(kept.sequence, prompt);
  save_prompt_cache(path, identity, prompt, cache, kept.sequence);
  console.detail(fmt::format("prompt cache: {} tokens saved to {}", prompt.size(), path));
}

int complete(const RunOptions& options, const std::string& text, LoadedModel& loaded, Engine& engine,
             engine::Request request, const Console& console) {
  const std::vector<std::int32_t> prompt = request.prompt;
  const std::string identity =
      options.prompt_cache.empty()
          ? ""
          : fmt::format("{} {} {}",
                        model_identity(model_outline(options.model.model), loaded.session->model().contents()),
                        options.model.arithmetic(), cpu::name_of(loaded.session->model().isa()));
  if (static_cast<std::int64_t>(prompt.size()) >= loaded.context)
    throw Error(
        ErrorKind::kDoesNotFit,
        fmt::format(
            "the prompt has {} tokens, the context holds {} with at least one to generate; a larger -c holds more",
            prompt.size(), loaded.context));
  KvCache& cache = loaded.session->executor().cache();
  bool saved = false;
  if (!options.prompt_cache.empty())
    saved = restore_prompt(options.prompt_cache, identity, engine, cache, console) == prompt;
  if (!options.no_display_prompt) {
    print_out(text);
    flush_out();
  }
  const Answer answer = stream_answer(engine, std::move(request));
  print_out("\n");
  flush_out();
  if (!options.prompt_cache.empty() && !options.keep_prompt_cache && !saved)
    save_prompt(options.prompt_cache, identity, engine, cache, prompt, console);
  switch (answer.finish) {
    case FinishReason::kEndOfGeneration:
      console.info("ended with an end-of-generation token");
      break;
    case FinishReason::kStopText:
      console.info("ended before a stop text");
      break;
    case FinishReason::kContextFull:
      console.info(
          fmt::format("ended because the context of {} positions is full; a larger -c holds more", loaded.context));
      break;
    default:
      break;
  }
  print_statistics(console, loaded, engine);
  if (answer.finish == FinishReason::kCancelled) throw Stopped{};
  return 0;
}

}  // namespace

int cmd_run(std::span<const std::string> args) {
  RunOptions run;
  Options options(
      "dodeca run", "Completes a text, or chats.",
      "dodeca run -m model.gguf -p 'It is a truth universally acknowledged' -n 100\n  dodeca run -m model.gguf -cnv");
  run.add_flags(options);
  Console console;
  console.add_flags(options);
  options.parse(args);
  run.model.check();
  run.model.join_cluster(console);
  if (options.given("-p") && options.given("-f")) throw Usage("-p and -f cannot both give the prompt");
  if (run.chat && run.no_chat) throw Usage("-cnv and -no-cnv contradict each other");
  const bool has_prompt = options.given("-p") || options.given("-f");
  const bool chats = !run.no_chat && (run.chat || run.single_turn || options.given("-sys") || options.given("-sysf") ||
                                      (!has_prompt && stdin_is_terminal()));
  if (options.given("-sys") && options.given("-sysf"))
    throw Usage("-sys and -sysf cannot both give the system message");
  if (chats && !run.prompt_cache.empty()) throw Usage("--prompt-cache goes with a raw completion, not with a chat");

  if (run.model.cluster != nullptr && !run.prompt_cache.empty())
    throw Usage("--prompt-cache is for one process, and mpirun has started several");
  const auto needs = [](const Plan&, std::int64_t context) {
    return CommandNeeds{Engine::sequences_for(1), engine::positions_for(context, 1)};
  };
  if (run.model.cluster != nullptr && run.model.cluster->rank() > 0) return follow_rank_0(run.model, console, needs);

  run.sampling.apply_order(options);
  run.chat_template.read();

  std::optional<std::string> text;
  if (options.given("-p")) text = run.escapes.read(run.prompt);
  if (options.given("-f") || (!has_prompt && !chats))
    text = text_without_last_line_end(options.given("-f") ? run.file : "-");
  run.system = options.given("-sysf") ? text_without_last_line_end(run.system_file) : run.escapes.read(run.system);
  for (std::string& stop : run.stop) stop = run.escapes.read(stop);

  const Tokenizer tokenizer = open_tokenizer(run.model.model, run.model.override_kv);
  std::optional<ChatTemplate> chat_template;
  if (chats) chat_template = run.chat_template.choose(tokenizer);
  LoadedModel loaded = load_model(run.model, console, needs);
  Engine& engine = loaded.session->start_engine(engine::vocabulary_of(tokenizer, loaded.config().vocab_size),
                                                {.n_parallel = 1,
                                                 .context = loaded.context,
                                                 .batch = run.model.batch,
                                                 .micro_batch = run.model.rows_per_pass(loaded.config()),
                                                 .short_prompt = chats ? short_prompt_rows(loaded.config()) : 0,
                                                 .poll = run.model.poll,
                                                 .drafts = run.model.drafts.options(loaded.session->plan()),
                                                 .log = console.log()});

  engine::Request request;
  request.sampling = run.sampling.values;
  request.sampling.seed =
      run.sampling.seed >= 0 ? static_cast<std::uint64_t>(run.sampling.seed) : std::random_device{}();
  request.max_tokens = run.n_predict < 0 ? -1 : run.n_predict;
  request.stop = run.stop;
  request.ignore_eos = run.ignore_eos;
  if (request.sampling.temperature > 0) console.info(fmt::format("seed: {}", request.sampling.seed));
  if (!chats) {
    request.prompt = tokenizer.encode(*text);
    return complete(run, *text, loaded, engine, std::move(request), console);
  }

  chat({engine, tokenizer, run.chat_template, std::move(chat_template), std::move(request), run.system, std::move(text),
        run.single_turn, loaded.context},
       console);
  print_statistics(console, loaded, engine);
  return 0;
}

}  // namespace dodeca::runtime::cli
