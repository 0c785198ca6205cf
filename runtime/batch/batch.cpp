#include "runtime/batch/batch.hpp"

#include <fmt/core.h>

#include <memory>
#include <span>
#include <unordered_set>
#include <vector>

#include "runtime/base/error.hpp"
#include "runtime/base/own_file.hpp"
#include "runtime/batch/answering.hpp"
#include "runtime/batch/input_index.hpp"
#include "runtime/batch/line_file.hpp"
#include "runtime/batch/response.hpp"
#include "runtime/batch/run_folder.hpp"
#include "runtime/batch/shared_batch.hpp"
#include "runtime/batch/shared_run.hpp"
#include "runtime/batch/state.hpp"

namespace dodeca::runtime::batch {

using engine::Engine;

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
  // For a moment, or since a kill, one file has both names (OutputFile::finish_new).
  files.may_replace("the state of -o", "a state of -o that is not finished");
  files.writes_numbered(options.output, kTemporaryTail, "-o while shards are put together");
  files.writes_numbered(options.errors, kTemporaryTail, "--errors while shards are put together");
  files.writes_numbered(options.output, RunFolder::kTail, "the shards of -o");
  return files;
}

std::unique_ptr<AnyBatch> open_batch(const BatchOptions& options, const Log& log) {
  if (options.shard) return std::make_unique<SharedBatch>(options, log);
  return std::make_unique<Batch>(options, log);
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
  void open_files();
  void begin(std::span<const RunFolder> earlier);
  void recover(LineFile& file, std::int64_t& count);
  void write(const std::string& line, bool refused);
  void sync(bool now);
  void note_synced();
};

// The order matters: nothing is changed before everything that could refuse has been asked, and results never exist
// without the state that says what they are.
void Batch::Impl::open() {
  batch_files(options).check();
  const std::vector<RunFolder> earlier = RunFolder::all_of(options.output);
  const std::filesystem::path state_file = state_path(options.output);
  if (const auto shared = shared_run_of(state_file)) {
    if (shared->merged)
      end_earlier_runs(options, earlier);
    else if (!options.restart)
      throw Error(ErrorKind::kBadRequest,
                  fmt::format("{} is being answered by several processes, which share the folder {}",
                              options.output.string(), RunFolder(options.output, shared->run).path().string()))
          .with(Remedy::kJoinShards);
    remove_leftovers(state_file);  // killed at a bad moment, such a process leaves the state with two names
  }
  check_own_file(state_file);
  if (options.errors == default_errors_path(options.output)) check_own_file(options.errors);
  input = std::make_unique<InputIndex>(options.input);
  counts.total = static_cast<std::int64_t>(input->lines().size());
  open_files();
  remove_leftovers(state_file);

  state = new_state(*input, options);
  const std::optional<State> old = options.restart ? std::nullopt : read_state(state_file, Remedy::kBeginAnew);
  if (old && !old->restarting) {
    require_same_run(*old, state, options, Remedy::kBeginAnew);
    state.created = old->created;
    state.synced_results = old->synced_results;
    state.synced_errors = old->synced_errors;
    results->trust(old->synced_results);
    errors->trust(old->synced_errors);
    state.contents = old->contents;
    state.stamp = old->stamp;
  } else {
    if (!old && !options.restart) require_no_results(options, Remedy::kBeginAnew);
    begin(earlier);
  }
  recover(*results, counts.completed);
  recover(*errors, counts.failed);
  counts.resumed = counts.done();
  note_synced();
}

void Batch::Impl::open_files() {
  const bool errors_named = options.errors != default_errors_path(options.output);
  results.reset();  // both are locked
  errors.reset();
  results = std::make_unique<LineFile>(options.output);
  errors = std::make_unique<LineFile>(options.errors, errors_named ? LineFile::Kind::kNamed : LineFile::Kind::kOwn);
}

// Processes of a shared run may merge until its state, its folder and their temporary files are gone, in this order. What
// they named until then lies over the files that are open here.
void Batch::Impl::begin(std::span<const RunFolder> earlier) {
  const std::filesystem::path state_file = state_path(options.output);
  state.restarting = true;
  write_state(state_file, state);
  end_earlier_runs(options, earlier);
  open_files();
  results->clear();
  errors->clear();
  state.restarting = false;
  write_state(state_file, state);
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
    const std::string id = parse_output_line(line).id;
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

void Batch::Impl::write(const std::string& line, bool refused) {
  (refused ? errors : results)->append(line);
  ++(refused ? unsynced_failed : unsynced_completed);
}

// Only what is durable is counted.
void Batch::Impl::sync(bool now) {
  if (now ? results->sync() : results->sync_if_due(options.sync_interval))
    counts.completed += std::exchange(unsynced_completed, 0);
  if (now ? errors->sync() : errors->sync_if_due(options.sync_interval))
    counts.failed += std::exchange(unsynced_failed, 0);
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
  const Answering answering(impl.options, *impl.input, impl.state.created);
  const auto on_answer = [&](const std::string& line, bool refused) { impl.write(line, refused); };
  auto next = impl.input->lines().begin();
  const auto end = impl.input->lines().end();
  const auto submit_next = [&] {
    while (next != end && impl.done.contains(next->id)) ++next;
    if (next == end) return Submitted::kNone;
    return answering.submit(engine, text, *next++, on_answer) ? Submitted::kToEngine : Submitted::kAnswered;
  };
  const auto settled = [&] {
    impl.sync(false);
    return progress(impl.counts);
  };
  bool working = true;
  while (working) {
    const bool go_on = fill(engine, impl.options.n_parallel, submit_next, settled);
    const bool stepped = go_on && step_unless_stopped(engine, working);
    working = working || next != end;
    if (!stepped || !settled()) {
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
