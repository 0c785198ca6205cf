#include "runtime/batch/batch.hpp"

#include <fmt/core.h>

#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>
#include <unordered_set>

#include "runtime/base/error.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/base/own_file.hpp"
#include "runtime/batch/input_index.hpp"
#include "runtime/batch/line_file.hpp"
#include "runtime/batch/response.hpp"

namespace dodeca::runtime::batch {
namespace {

using engine::Engine;

constexpr std::int64_t kDefaultCompletionTokens = 16;
constexpr std::string_view kTemporaryTail = ".#.#.tmp";  // of OutputFile's, beside their target

// What the results belong to. Kept when the batch is complete, so that the same command then finds nothing to do.
struct State {
  std::string input, model, sampling, prompts;  // fingerprints, the last two in words
  std::string contents, stamp;                  // of the model's weights, and of its files when they were read
  std::int64_t created = 0;
  bool restarting = false;  // a --restart was interrupted between this file and the emptying of the others
  // Bytes of the two files that were synced when this was written: at the least so many are.
  std::uint64_t synced_results = 0, synced_errors = 0;

  Json json() const {
    return {{"dodeca_batch", 3},
            {"input", input},
            {"model", model},
            {"sampling", sampling},
            {"prompts", prompts},
            {"contents", contents},
            {"stamp", stamp},
            {"created", created},
            {"restarting", restarting},
            {"synced_results", synced_results},
            {"synced_errors", synced_errors}};
  }
};

std::filesystem::path state_path(const std::filesystem::path& output) { return output.string() + ".state"; }

void write_state(const std::filesystem::path& path, const State& state) {
  const std::string text = state.json().dump() + "\n";
  OutputFile file(path, text.size(), OutputFile::Links::kReplace);
  file.append(text.data(), text.size());
  file.finish();
}

std::optional<State> read_state(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const auto damaged = [&] {
    return Error(ErrorKind::kBadFile, fmt::format("{} is not the state of a batch", path.string()))
        .with(Remedy::kBeginAnew);
  };
  try {
    const Json json = read_json(path, 1u << 20);
    if (json.at("dodeca_batch") != 3)
      throw Error(ErrorKind::kUnsupported, fmt::format("{} is of another version of dodeca", path.string()))
          .with(Remedy::kBeginAnew);
    return State{json.at("input"),          json.at("model"),        json.at("sampling"), json.at("prompts"),
                 json.at("contents"),       json.at("stamp"),        json.at("created"),  json.at("restarting"),
                 json.at("synced_results"), json.at("synced_errors")};
  } catch (const Json::exception&) {
    throw damaged();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kBadFile) throw damaged();
    throw;
  }
}

// State files that a killed process left half-written under their temporary names.
void remove_leftovers(const std::filesystem::path& state) {
  std::error_code ignored;
  for (const auto& leftover : numbered_files(state, kTemporaryTail)) std::filesystem::remove(leftover, ignored);
}

std::string sampling_text(const BatchOptions& options) {
  const SamplerOptions& s = options.sampling;
  return fmt::format("temp {} top-k {} top-p {} min-p {} repeat {} over {} frequency {} presence {} seed {} tokens {}",
                     s.temperature, s.top_k, s.top_p, s.min_p, s.repeat_penalty, s.repeat_last_n, s.frequency_penalty,
                     s.presence_penalty, s.seed, options.max_tokens);
}

}  // namespace

std::filesystem::path default_errors_path(const std::filesystem::path& output) {
  std::filesystem::path path = output;
  const std::string extension = output.extension().string();
  path.replace_extension(".errors" + (extension.empty() ? std::string(".jsonl") : extension));
  return path;
}

FileRoles batch_files(const BatchOptions& options) {
  FileRoles files;
  const std::filesystem::path state = state_path(options.output);
  files.reads(options.input, "-i");
  files.writes(options.output, "-o");
  files.writes(options.errors, "--errors");
  files.writes(state, "the state of -o");
  files.writes_numbered(state, kTemporaryTail, "a state of -o that is not finished");
  return files;
}

struct Batch::Impl {
  BatchOptions options;
  Log log;
  std::unique_ptr<InputIndex> input;
  std::unique_ptr<LineFile> results, errors;
  State state;
  std::unordered_set<std::string> done;  // ids of lines in either file
  BatchCounts counts;
  std::int64_t unsynced_completed = 0, unsynced_failed = 0;

  void open();
  void recover(LineFile& file, std::int64_t& count);
  void write_result(const std::string& line);
  void write_error(const std::string& line);
  void sync(bool now);
  void note_synced();
  bool submit(Engine& engine, const BatchText& text, const InputLine& line);
};

// The order matters: nothing is changed before everything that could refuse has been asked, and results never exist
// without the state that says what they are.
void Batch::Impl::open() {
  batch_files(options).check();
  const std::filesystem::path state_file = state_path(options.output);
  const bool errors_named = options.errors != default_errors_path(options.output);
  check_own_file(state_file);
  if (!errors_named) check_own_file(options.errors);
  input = std::make_unique<InputIndex>(options.input);
  counts.total = static_cast<std::int64_t>(input->lines().size());
  results = std::make_unique<LineFile>(options.output);
  errors = std::make_unique<LineFile>(options.errors, errors_named);
  remove_leftovers(state_file);

  state.input = fmt::format("{:016x}", input->fingerprint());
  state.model = options.model_identity;
  state.sampling = sampling_text(options);
  state.prompts = options.prompt_making;
  state.created = static_cast<std::int64_t>(std::time(nullptr));
  const bool empty = results->size() == 0 && errors->size() == 0;
  const std::optional<State> old = options.restart ? std::nullopt : read_state(state_file);
  if (old && !old->restarting) {
    const auto refuse = [&](std::string_view what) {
      throw Error(ErrorKind::kBadRequest,
                  fmt::format("{} since {} was begun: resuming would mix results", what, options.output.string()))
          .with(Remedy::kBeginAnew);
    };
    if (old->input != state.input) refuse(fmt::format("the input {} has changed", options.input.string()));
    if (old->model != state.model) refuse("the model, or an option that changes its numbers, has changed");
    if (old->sampling != state.sampling)
      refuse(fmt::format("the sampling defaults have changed ({} then, {} now)", old->sampling, state.sampling));
    if (old->prompts != state.prompts)
      refuse(fmt::format("the making of prompts has changed ({} then, {} now)", old->prompts, state.prompts));
    state.created = old->created;
    state.synced_results = old->synced_results;
    state.synced_errors = old->synced_errors;
    results->trust(old->synced_results);
    errors->trust(old->synced_errors);
    state.contents = old->contents;
    state.stamp = old->stamp;
  } else if (!old && !options.restart && !empty) {
    throw Error(ErrorKind::kBadRequest,
                fmt::format("{} or {} has contents but there is no {}: they are not of an interrupted run",
                            options.output.string(), options.errors.string(), state_file.string()))
        .with(Remedy::kBeginAnew);
  } else {
    if (!empty) {
      state.restarting = true;
      write_state(state_file, state);
      results->clear();
      errors->clear();
      state.restarting = false;
    }
    write_state(state_file, state);
  }
  recover(*results, counts.completed);
  recover(*errors, counts.failed);
  counts.resumed = counts.done();
  note_synced();
}

// Written when a run begins and when it ends: should a later sync fail, what is above these numbers is made anew. Where
// they cannot be written the older, lower ones stand.
void Batch::Impl::note_synced() {
  if (state.synced_results == results->synced_size() && state.synced_errors == errors->synced_size()) return;
  state.synced_results = results->synced_size();
  state.synced_errors = errors->synced_size();
  try {
    write_state(state_path(options.output), state);
  } catch (const Error& error) {
    log(Level::kDetail, error.what());
  }
}

void Batch::Impl::recover(LineFile& file, std::int64_t& count) {
  std::unordered_set<std::string> known;
  for (const InputLine& line : input->lines()) known.insert(line.id);
  const std::uint64_t cut = file.recover([&](std::string_view line, std::int64_t number) {
    const std::string id = id_of_output_line(line);
    if (id.empty()) return false;
    if (!known.contains(id) || !done.insert(id).second)
      throw Error(ErrorKind::kBadFile,
                  fmt::format("line {} of {} {}: the file was changed", number, file.path().string(),
                              known.contains(id) ? "answers a request that is answered already"
                                                 : "answers no request of the input"))
          .with(Remedy::kBeginAnew);
    ++count;
    return true;
  });
  if (cut > 0)
    log(Level::kWarning, fmt::format("{}: {} bytes of an unfinished line removed", file.path().string(), cut));
}

void Batch::Impl::write_result(const std::string& line) {
  results->append(line);
  ++unsynced_completed;
}

void Batch::Impl::write_error(const std::string& line) {
  errors->append(line);
  ++unsynced_failed;
}

// Only what is durable is counted.
void Batch::Impl::sync(bool now) {
  if (now ? results->sync() : results->sync_if_due(options.sync_interval))
    counts.completed += std::exchange(unsynced_completed, 0);
  if (now ? errors->sync() : errors->sync_if_due(options.sync_interval))
    counts.failed += std::exchange(unsynced_failed, 0);
}

// Hands one line to the engine, or writes its error. True when the engine has it.
bool Batch::Impl::submit(Engine& engine, const BatchText& text, const InputLine& line) {
  ParsedLine parsed = parse_line(input->read(line), options.sampling);
  const LineIdentity identity{line.id, parsed.custom_id, options.model_name, state.created};
  if (const auto* malformed = std::get_if<MalformedLine>(&parsed.what)) {
    write_error(malformed_line(line.id, line.number, *malformed));
    return false;
  }
  if (const auto* refused = std::get_if<RefusedRequest>(&parsed.what)) {
    write_error(refusal_line(identity, *refused));
    return false;
  }
  struct Work {
    LineIdentity identity;
    BatchRequest request;
    Generated generated;
  };
  const auto work = std::make_shared<Work>(Work{identity, std::get<BatchRequest>(std::move(parsed.what)), {}});
  BatchRequest& asked = work->request;
  if (!asked.model.empty()) work->identity.model = asked.model;
  const char* const param = asked.chat ? "messages" : "prompt";
  try {
    engine::Request request;
    if (asked.chat)
      request.prompt = text.encode_chat(asked.messages);
    else if (const auto* prompt = std::get_if<std::string>(&asked.prompt))
      request.prompt = text.encode(*prompt);
    else
      request.prompt = std::get<std::vector<std::int32_t>>(asked.prompt);
    work->generated.n_prompt = static_cast<std::int64_t>(request.prompt.size());
    if (asked.echo) {
      if (const auto* prompt = std::get_if<std::string>(&asked.prompt))
        work->generated.echoed = *prompt;
      else
        for (const std::int32_t id : request.prompt) work->generated.echoed += text.piece(id);
    }
    request.sampling = asked.sampling;
    request.max_tokens = asked.max_tokens.value_or(options.max_tokens >= 0 || asked.chat ? options.max_tokens
                                                                                         : kDefaultCompletionTokens);
    request.stop = asked.stop;
    request.n_logprobs = asked.n_logprobs;
    request.prompt_logprobs = asked.echo && asked.n_logprobs >= 0;
    asked.messages.clear();
    asked.prompt = std::string();
    engine.submit(std::move(request), [this, work, piece = text.piece](const engine::Event& event) {
      Generated& generated = work->generated;
      if (event.prompt != nullptr) generated.prompt = *event.prompt;
      if (event.token != nullptr) generated.tokens.push_back(*event.token);
      generated.text += event.text;
      generated.finish = event.finish;
      if (event.finish != engine::FinishReason::kNone && event.finish != engine::FinishReason::kCancelled)
        write_result(result_line(work->identity, work->request, generated, piece));
    });
    return true;
  } catch (const Error& error) {
    // A template or a pre-tokenizer may reach its limits with these texts alone: no reason to leave the others.
    if (error.kind() == ErrorKind::kBadFile || error.kind() == ErrorKind::kIo) throw;
    const bool too_long = error.kind() == ErrorKind::kDoesNotFit;
    write_error(refusal_line(work->identity,
                             {400, error.sentence(), param, too_long ? "context_length_exceeded" : "invalid_value"}));
    return false;
  }
}

Batch::Batch(const BatchOptions& options, const Log& log) : impl_(std::make_unique<Impl>()) {
  impl_->options = options;
  impl_->log = log;
  impl_->open();
}

Batch::~Batch() = default;

const BatchCounts& Batch::counts() const { return impl_->counts; }

bool Batch::model_untouched() const { return impl_->state.stamp == impl_->options.model_stamp; }

void Batch::confirm_model(const std::string& contents) {
  State& state = impl_->state;
  const BatchOptions& options = impl_->options;
  if (state.contents != contents && impl_->counts.done() > 0)
    throw Error(ErrorKind::kBadRequest,
                fmt::format("the model's weights have changed since {} was begun: resuming would "
                            "mix results",
                            options.output.string()))
        .with(Remedy::kBeginAnew);
  if (state.contents == contents && state.stamp == options.model_stamp) return;
  state.contents = contents;
  state.stamp = options.model_stamp;
  write_state(state_path(options.output), state);
}

void Batch::run(Engine& engine, const BatchText& text, const Report& progress) {
  Impl& impl = *impl_;
  auto next = impl.input->lines().begin();
  const auto end = impl.input->lines().end();
  // One more than run at once is queued, so that a place never waits.
  const std::size_t wanted = static_cast<std::size_t>(impl.options.n_parallel) + 1;
  bool working = true;
  while (working) {
    bool go_on = true;
    while (go_on && next != end && engine.n_active() + engine.n_queued() < wanted) {
      if (!impl.done.contains(next->id) && !impl.submit(engine, text, *next)) {
        impl.sync(false);
        go_on = progress(impl.counts);
      }
      ++next;
    }
    if (go_on) {
      working = engine.step() || next != end;
      impl.sync(false);
      go_on = progress(impl.counts);
    }
    if (!go_on) {
      impl.sync(true);
      impl.note_synced();
      throw Stopped{};
    }
  }
  impl.sync(true);
  impl.note_synced();
  progress(impl.counts);
}

}  // namespace dodeca::runtime::batch
