// dodeca batch: answers a file of requests. The work and its safety are in runtime/batch; this is its command line.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>

#include "runtime/base/stopwatch.hpp"
#include "runtime/batch/batch.hpp"
#include "runtime/cli/command.hpp"
#include "runtime/cli/load_model.hpp"
#include "runtime/cli/model_identity.hpp"
#include "runtime/cli/text_options.hpp"
#include "runtime/model/contents.hpp"

namespace dodeca::runtime::cli {
namespace {

using batch::BatchCounts;
using batch::BatchOptions;
using engine::Engine;

constexpr std::int64_t kMaxShards = 65536;

batch::BatchText batch_text(const Tokenizer& tokenizer, const TemplateOptions& template_options,
                            std::optional<ChatTemplate>& chat_template) {
  batch::BatchText text;
  text.encode = [&](const std::string& raw) { return tokenizer.encode(raw); };
  // The template is looked at when the first chat comes: completions need none, and what is wrong with it is the answer
  // to chats alone.
  text.encode_chat = [&, chosen = false, failure = std::string()](std::span<const ChatMessage> messages) mutable {
    if (!chosen) try {
        chat_template = template_options.choose(tokenizer);
      } catch (const Error& error) {
        failure = error.sentence();
      }
    chosen = true;
    if (!failure.empty()) throw Error(ErrorKind::kUnsupported, failure);
    return template_options.encode(tokenizer, chat_template, messages);
  };
  text.piece = [&](std::int32_t id) { return tokenizer.piece(id); };
  return text;
}

// What decides on the tokens of a request besides the model, and on how many of them there may be.
std::string prompt_making(const ModelOptions& model, const TemplateOptions& chat) {
  const auto source = model.open([](Level, std::string_view) {});
  return fmt::format("chat template {}, thinking {}, context {}", chat.identity(),
                     chat.thinking.empty() ? "as the template says" : chat.thinking,
                     engine::context_for(source->config(), model.ctx_size));
}

// The checksum of a model that needs not be loaded.
std::uint64_t read_contents(const ModelOptions& model, const Console& console) {
  const auto source = model.open([](Level, std::string_view) {});
  ProgressBar bar(console, "reading the model", "MB", 1e6);
  return sum_of(*source, *engine::make_team(model.threads, console.log()), bar.callback()).value();
}

std::string counts_text(const BatchCounts& counts, const BatchOptions& options) {
  if (options.shard && counts.done() < counts.total)
    return fmt::format("{} of {} requests answered by all shards together", counts.done(), counts.total);
  std::string text =
      fmt::format("{} of {} requests answered in {}", counts.completed, counts.total, options.output.string());
  if (counts.failed > 0) text += fmt::format(", {} refused in {}", counts.failed, options.errors.string());
  return text;
}

// Lines of this run and of earlier ones.
int exit_code(const BatchCounts& counts, const BatchOptions& options, bool allow_errors, const Console& console) {
  if (counts.failed == 0 || allow_errors) return 0;
  console.warn(
      fmt::format("dodeca batch: {} of {} requests were refused, the reasons are in {}; all others are answered "
                  "(--allow-errors makes this exit code 0)",
                  counts.failed, counts.total, options.errors.string()));
  return 1;
}

batch::Shard parse_shard(const std::string& text, double timeout) {
  const std::size_t slash = text.find('/');
  if (slash == std::string::npos)
    throw Usage(fmt::format("--shard wants I/N, share I (from 0) of N, for example 0/8; '{}' is none", text));
  batch::Shard shard;
  shard.count = parse_integer("--shard", text.substr(slash + 1), {1, kMaxShards});
  shard.index = parse_integer("--shard", text.substr(0, slash), {0, kMaxShards});
  if (shard.index >= shard.count)
    throw Usage(fmt::format("--shard {}: shares of {} go from 0 to {} (a Slurm array: --array=0-{})", text, shard.count,
                            shard.count - 1, shard.count - 1));
  shard.takeover = std::chrono::milliseconds(std::llround(timeout * 1000));
  return shard;
}

struct BatchArguments {
  ModelOptions model;
  SamplingOptions sampling;
  TemplateOptions chat_template;
  BatchOptions batch;
  bool allow_errors = false;
};

BatchArguments parse_batch(std::span<const std::string> args, Console& console) {
  BatchArguments a;
  std::string input, output, errors, shard;
  double shard_timeout = 60;
  a.batch.n_parallel = 8;
  std::int64_t n_predict = -1;
  Options options(
      "dodeca batch",
      "Answers a file of requests in OpenAI's batch format. After a stop or a kill the same command resumes.",
      "dodeca batch -m model.gguf -i requests.jsonl -o results.jsonl --parallel 8");
  a.model.add_flags(options);
  a.model.add_engine_flags(options);
  options.value("-i,--input,--input-file", input, "requests, one JSON object per line", "FILE", FileUse::kDeclared);
  options.value("-o,--output,--output-file", output, "results; beside it OUTPUT.state, which says what they belong to",
                "FILE", FileUse::kDeclared);
  options.value("--errors", errors,
                "refused requests and malformed lines (default: results.errors.jsonl for results.jsonl)", "FILE",
                FileUse::kDeclared);
  options.value("-np,--parallel", a.batch.n_parallel, "sequences that run at once (default: 8)", {1, 1024});
  options.flag("--allow-errors", a.allow_errors, "exit code 0 also when requests were refused (default: 1)");
  options.flag("--restart", a.batch.restart, "begin anew, whatever the files hold");
  options.value(
      "--shard", shard,
      "answer the file together with N - 1 other processes, on machines that share the folder of -o: begin with "
      "share I (from 0) of N, help the others, take over what ended ones left; beside the output "
      "OUTPUT.shards.NUMBER while it lasts",
      "I/N");
  options.value("--shard-timeout", shard_timeout,
                "seconds without a sign of life after which another process's requests are taken over (default: 60)",
                {1, 86400});
  options.value("-n,--predict,--n-predict", n_predict,
                "max_tokens of requests that name none (default: completions 16, chats until their end)", {-2});
  a.sampling.add_flags(options,
                       "mixed into the seeds of requests that name none, which derive from custom_id (default: 0)");
  a.chat_template.add_flags(options);
  console.add_flags(options);
  options.parse(args);
  a.model.check();
  if (input.empty()) throw Usage("-i is missing: a file of requests");
  if (output.empty()) throw Usage("-o is missing: the file for the results");

  // A batch that goes on after a stop reads its requests and what it wrote again.
  refuse_stream("-i", input);
  refuse_stream("-o", output);
  refuse_stream("--errors", errors);
  a.sampling.apply_order(options);
  a.chat_template.read();
  a.batch.input = input;
  a.batch.output = output;
  if (options.given("--shard")) {
    if (a.batch.restart)
      throw Usage(
          "--restart does not go with --shard: one process cannot begin anew for all; end them, remove the "
          "results, the errors and OUTPUT.state, and start them again");
    a.batch.shard = parse_shard(shard, shard_timeout);
  } else if (options.given("--shard-timeout")) {
    throw Usage("--shard-timeout goes with --shard");
  }
  a.batch.errors = errors.empty() ? batch::default_errors_path(output) : std::filesystem::path(errors);
  options.files().add(batch::batch_files(a.batch));
  options.files().check();
  a.batch.sampling = a.sampling.values;
  a.batch.sampling.seed = a.sampling.seed < 0 ? 0 : static_cast<std::uint64_t>(a.sampling.seed);
  a.batch.max_tokens = n_predict < 0 ? -1 : n_predict;
  return a;
}

// Answers what is left, with progress, and says how it went.
void answer(batch::AnyBatch& batch, const BatchArguments& a, const LoadedModel& loaded, Engine& engine,
            const Tokenizer& tokenizer, const Console& console) {
  std::optional<ChatTemplate> chat_template;
  const Stopwatch watch;
  const auto tokens_per_second = [&] {
    return static_cast<double>(engine.stats().generated_tokens) / std::max(watch.seconds(), 1e-9);
  };
  const std::int64_t before = batch.counts().resumed;
  try {
    ProgressBar bar(console, "batch", "requests");
    batch.run(engine, batch_text(tokenizer, a.chat_template, chat_template), [&](const BatchCounts& counts) {
      return bar.update(static_cast<double>(counts.done() - before), static_cast<double>(counts.total - before),
                        fmt::format("{:.1f} tokens/s{}", tokens_per_second(), a.batch.shard ? " here" : ""));
    });
  } catch (const Stopped&) {
    console.warn(fmt::format("stopped: {}; the same command resumes", counts_text(batch.counts(), a.batch)));
    throw;
  }
  console.info(counts_text(batch.counts(), a.batch));
  const engine::EngineStats& stats = engine.stats();
  const std::string who = a.batch.shard ? "this process" : fmt::format("{}", batch.counts().done() - before);
  console.info(fmt::format("{} in {}: {} tokens generated, {:.1f} tokens/s; {} prompt tokens computed, {} shared", who,
                           duration_text(watch.seconds()), stats.generated_tokens, tokens_per_second(),
                           stats.prompt_tokens, stats.reused_tokens));
  if (const std::string drafts = drafts_text(engine); !drafts.empty()) console.info(drafts);
  if (loaded.cluster != nullptr) console.info(loaded.cluster->statistics());
  if (engine::EnergyMeter& energy = *loaded.energy; energy.counts())
    console.info("energy: " + energy.text(energy.read(), static_cast<double>(stats.generated_tokens)));
}

}  // namespace

int cmd_batch(std::span<const std::string> args) {
  Console console;
  BatchArguments a = parse_batch(args, console);
  const ModelOptions& model = a.model;
  a.model.join_cluster(console);
  const std::int32_t n_parallel = a.batch.n_parallel;
  const auto needs = [&](const Plan&, std::int64_t context) {
    return CommandNeeds{Engine::sequences_for(n_parallel), engine::positions_for(context, n_parallel)};
  };
  if (model.cluster != nullptr && model.cluster->rank() > 0) return follow_rank_0(model, console, needs);
  const Tokenizer tokenizer = open_tokenizer(model.model, model.override_kv);
  a.batch.model_name = std::filesystem::path(model.model).lexically_normal().filename().string();
  a.batch.model_identity = fmt::format("{} {}", model_outline(model.model), model.arithmetic());
  a.batch.model_stamp = model_stamp(model.model);
  a.batch.prompt_making = prompt_making(model, a.chat_template);
  const std::unique_ptr<batch::AnyBatch> batch = batch::open_batch(a.batch, console.log());
  if (batch->finished()) {
    if (!batch->model_untouched()) batch->confirm_model(contents_text(read_contents(model, console)));
    batch->conclude([](const BatchCounts&) { return stop_signal() == 0; });
    console.info("nothing left to do: " + counts_text(batch->counts(), a.batch));
    return exit_code(batch->counts(), a.batch, a.allow_errors, console);
  }
  if (batch->counts().resumed > 0)
    console.info(fmt::format("resuming: {} of {} requests are done", batch->counts().resumed, batch->counts().total));

  LoadedModel loaded = load_model(model, console, needs);
  batch->confirm_model(contents_text(loaded.session->model().contents()));
  Engine& engine =
      loaded.session->start_engine(engine::vocabulary_of(tokenizer, loaded.config().vocab_size),
                                   {.n_parallel = n_parallel,
                                    .context = loaded.context,
                                    .batch = model.batch,
                                    .micro_batch = model.rows_per_pass(loaded.config()),
                                    .share_generated = false,  // prompt rows attend in another form than generated ones
                                    .poll = model.poll,
                                    .drafts = model.drafts.options(loaded.session->plan()),
                                    .log = console.log()});
  answer(*batch, a, loaded, engine, tokenizer, console);
  return exit_code(batch->counts(), a.batch, a.allow_errors, console);
}

}  // namespace dodeca::runtime::cli
