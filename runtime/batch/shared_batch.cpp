#include "runtime/batch/shared_batch.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <thread>
#include <unordered_map>
#include <utility>

#include "runtime/base/error.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/base/own_file.hpp"
#include "runtime/batch/answering.hpp"
#include "runtime/batch/claims.hpp"
#include "runtime/batch/input_index.hpp"
#include "runtime/batch/line_file.hpp"
#include "runtime/batch/merge.hpp"
#include "runtime/batch/response.hpp"
#include "runtime/batch/shared_run.hpp"
#include "runtime/batch/state.hpp"
#include "runtime/batch/units.hpp"

namespace dodeca::runtime::batch {
namespace {

using engine::Engine;
using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr milliseconds kPause{50};  // of a worker that has nothing to do

SteadyTime now() { return std::chrono::steady_clock::now(); }

// How often a worker counts on; how often it looks what the others did, while it works and while it waits for them.
milliseconds beat_interval(milliseconds takeover) {
  return std::clamp(takeover / 12, milliseconds(50), kLongestInterval);
}
milliseconds look_interval(milliseconds takeover) {
  return std::clamp(takeover / 6, milliseconds(50), milliseconds(10000));
}
milliseconds wait_interval(milliseconds takeover) {
  return std::clamp(takeover / 120, milliseconds(50), milliseconds(1000));
}

// A unit that this worker has claimed.
struct Unit {
  std::int64_t index = 0, generation = 0;
  std::int64_t n_lines = 0, n_written = 0, n_synced = 0;
  std::unique_ptr<LineFile> file;
  std::vector<const InputLine*> open;  // requests without a line when it was claimed
  std::size_t next = 0;                // of them: the first that the engine has not been given
  std::vector<engine::RequestId> requests;
};

// Of an earlier generation that left none there is nothing to take over.
std::string lines_left(const std::filesystem::path& work) try { return read_lines(work); } catch (const Error&) {
  return "";
}

// While it exists the others see that this worker lives.
struct Presence {
  Presence(const RunFolder& folder, const WorkerIdentity& identity, milliseconds takeover)
      : file(folder, identity, beat_interval(takeover)), heartbeat(file, beat_interval(takeover)) {}
  WorkerFile file;
  Heartbeat heartbeat;
};

}  // namespace

struct SharedBatch::Impl {
  BatchOptions options;
  Log log;
  Shard shard;
  std::unique_ptr<InputIndex> input;
  State state;
  std::optional<RunFolder> folder;
  std::int64_t n_units = 0;
  WorkerIdentity self = this_worker();
  std::unique_ptr<Claims> claims;
  std::vector<std::int64_t> order;
  std::vector<std::shared_ptr<Unit>> held;
  BatchCounts counts;
  SteadyTime next_look;
  std::string contents;  // of this worker's model, when it is known

  const SharedRun& run() const { return *state.shared; }
  std::span<const InputLine> lines_of(std::int64_t unit) const {
    return lines_of_unit(*input, run().unit_requests, unit);
  }
  void open();
  bool merged();
  void adopt(const State& whole);
  void close_units();
  void take_counts(const BatchCounts& merged);
  void count();
  void import_lines(Unit& unit) const;
  std::shared_ptr<Unit> claim_next();
  std::shared_ptr<Unit> next_unit();
  void settle(bool now);
  void publish(Unit& unit);
  void drop_lost(Engine& engine);
  bool look(Engine* engine);
  void merge();
  bool merge_if_due();
  void wait();
  void work(Engine& engine, const BatchText& text, const Report& progress);
};

void SharedBatch::Impl::open() {
  if (options.restart)
    throw Error(ErrorKind::kBadRequest, "one of several processes cannot begin a batch anew for all of them");
  batch_files(options).check();
  if (options.errors == default_errors_path(options.output)) check_own_file(options.errors);
  if (std::filesystem::is_symlink(state_path(options.output))) check_own_file(state_path(options.output));
  input = std::make_unique<InputIndex>(options.input);
  counts.total = std::ssize(input->lines());
  state = begin_or_join(options, *input, requests_of_unit(counts.total, shard.count));
  n_units = count_units(counts.total, run().unit_requests);
  order = order_of_units(n_units, shard);
  folder.emplace(options.output, run().run);
  folder->make();
  // The folder may have been removed before it was made: then OUTPUT.state, which is written first, says so.
  if (!merged()) try {
      claims = std::make_unique<Claims>(*folder, n_units, self, ClaimRules{.takeover = shard.takeover}, log);
      claims->look();
      count();
    } catch (const Error&) {
      if (!merged()) throw;  // others finished it just now
    }
  if (run().merged) require_whole_results(options, state);
  counts.resumed = counts.done();
}

// Whether the results are whole, by whomever. Throws when this run is no more.
bool SharedBatch::Impl::merged() {
  const std::optional<State> there = read_state(state_path(options.output), Remedy::kRemoveResults);
  if (!there || !there->shared || there->shared->run != run().run) {
    close_units();
    folder->remove_empty();  // whoever began anew removed it; this process may have made it again since
    throw run_is_over(options, there);
  }
  if (there->shared->merged) adopt(*there);
  return there->shared->merged;
}

// Whoever comes last removes what is left: on NFS the folder cannot go while a process has files in it open, and who
// merged may have been killed then.
void SharedBatch::Impl::adopt(const State& whole) {
  state = whole;
  take_counts(run().counts);
  close_units();
  end_earlier_runs(options, {&*folder, 1});
}

void SharedBatch::Impl::close_units() {
  for (const auto& unit : held) unit->file.reset();
  held.clear();
}

void SharedBatch::Impl::take_counts(const BatchCounts& merged) {
  const std::int64_t resumed = counts.resumed;
  counts = merged;
  counts.resumed = resumed;
}

void SharedBatch::Impl::count() {
  counts.completed = 0;
  for (std::int64_t unit = 0; unit < n_units; ++unit)
    if (claims->done(unit)) counts.completed += std::ssize(lines_of(unit));
  for (const auto& unit : held) counts.completed += unit->n_synced;
}

// What earlier generations of the unit left, down to the first line that is not whole: who made it may have been killed,
// or still be at it.
void SharedBatch::Impl::import_lines(Unit& unit) const {
  std::unordered_map<std::string, const InputLine*> missing;
  for (const InputLine& line : lines_of(unit.index)) missing.emplace(line.id, &line);
  for (std::int64_t generation = unit.generation - 1; generation > 0; --generation) {
    const std::string text = lines_left(folder->work(unit.index, generation));
    std::string_view rest = text;
    for (std::size_t end; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
      const std::string_view line = rest.substr(0, end + 1);
      const OutputLine parsed = parse_output_line(line);
      if (parsed.id.empty()) break;
      if (missing.erase(parsed.id) == 0) continue;
      unit.file->append(line);
      ++unit.n_written;
    }
  }
  for (const InputLine& line : lines_of(unit.index))
    if (missing.contains(line.id)) unit.open.push_back(&line);
}

// What nobody has begun comes before what somebody left.
std::shared_ptr<Unit> SharedBatch::Impl::claim_next() {
  for (const bool begun : {false, true}) {
    for (const std::int64_t index : order) {
      if (claims->done(index) || claims->claimed(index) != begun) continue;
      const std::optional<std::int64_t> generation = claims->claim(index);
      if (!generation) continue;
      auto unit = std::make_shared<Unit>();
      unit->index = index;
      unit->generation = *generation;
      unit->n_lines = std::ssize(lines_of(index));
      unit->file = std::make_unique<LineFile>(folder->work(index, *generation), LineFile::Kind::kPrivate);
      import_lines(*unit);
      return unit;
    }
  }
  return nullptr;
}

// The unit whose next request the engine gets; null when there is none to be had.
std::shared_ptr<Unit> SharedBatch::Impl::next_unit() {
  for (const auto& unit : held)
    if (unit->next < unit->open.size()) return unit;
  while (auto unit = claim_next()) {
    held.push_back(unit);
    if (!unit->open.empty()) return unit;
    settle(false);
  }
  return nullptr;
}

// Only what is durable is counted, and only whole units are shown to others.
void SharedBatch::Impl::settle(bool now) {
  for (const auto& unit : held) {
    const bool whole = unit->n_written == unit->n_lines;
    if (now || whole ? unit->file->sync() : unit->file->sync_if_due(options.sync_interval))
      unit->n_synced = unit->n_written;
    if (whole) publish(*unit);
  }
  std::erase_if(held, [](const auto& unit) { return unit->file == nullptr; });
  count();
}

// Where another was first his lines count: they answer the same requests.
void SharedBatch::Impl::publish(Unit& unit) {
  const std::filesystem::path work = folder->work(unit.index, unit.generation);
  add_name(work, folder->done(unit.index));
  unit.file
      .reset();  // first: NFS keeps a file that is open under a name which is not ours, and the folder could not go
  std::error_code ignored;
  std::filesystem::remove(work, ignored);
  claims->note_done(unit.index);
}

void SharedBatch::Impl::drop_lost(Engine& engine) {
  for (const auto& unit : held) {
    if (!claims->lost(unit->index, unit->generation)) continue;
    log(Level::kDetail,
        fmt::format("unit {} was taken over by another process while this one stood still", unit->index));
    for (const engine::RequestId request : unit->requests) engine.cancel(request);
    unit->file.reset();
  }
  std::erase_if(held, [](const auto& unit) { return unit->file == nullptr; });
}

// At most so often: what the others did. True when the results are merged.
bool SharedBatch::Impl::look(Engine* engine) {
  if (now() < next_look) return false;
  if (merged()) return true;
  claims->look();
  next_look = now() + look_interval(shard.takeover);
  if (engine != nullptr) drop_lost(*engine);
  count();
  return false;
}

void SharedBatch::Impl::wait() {
  next_look = std::min(next_look, now() + wait_interval(shard.takeover));
  std::this_thread::sleep_for(kPause);
}

void SharedBatch::Impl::merge() {
  OutputFile state_file(state_path(options.output), 0, OutputFile::Links::kReplace);  // begun first: merge.hpp says why
  state.contents = read_small_file(folder->weights());
  state.stamp = contents == state.contents ? options.model_stamp : "";
  const Merged merged = merge_units(*folder, *input, run().unit_requests, options);
  state.synced_results = merged.results_bytes;
  state.synced_errors = merged.errors_bytes;
  state.shared->counts = merged.counts;
  state.shared->merged = true;
  finish_state(state_file, state);
  take_counts(merged.counts);
}

// False when that is not due, or another is at it.
bool SharedBatch::Impl::merge_if_due() {
  if (!claims->all_done() || !claims->claim(claims->merging())) return false;
  try {
    merge();
  } catch (const Error&) {
    if (merged()) return true;
    merge();  // once more: whoever began this run, and slept then, removes temporary files late, and does so once
  }
  end_earlier_runs(options, {&*folder, 1});
  return true;
}

void SharedBatch::Impl::work(Engine& engine, const BatchText& text, const Report& progress) {
  const Answering answering(options, *input, state.created);
  const Presence presence(*folder, self, shard.takeover);
  const auto submit_next = [&] {
    const std::shared_ptr<Unit> unit = next_unit();  // begun before the last one ends, so that a place never waits
    if (!unit) return Submitted::kNone;
    const auto on_answer = [unit](const std::string& line, bool) {
      if (!unit->file) return;
      unit->file->append(line);
      ++unit->n_written;
    };
    const auto request = answering.submit(engine, text, *unit->open[unit->next++], on_answer);
    if (request) unit->requests.push_back(*request);
    return request ? Submitted::kToEngine : Submitted::kAnswered;
  };
  const auto settled = [&] {
    settle(false);
    return progress(counts);
  };
  while (!look(&engine)) {
    const bool go_on = fill(engine, options.n_parallel, submit_next, settled);
    bool working = false;
    const bool stepped = go_on && step_unless_stopped(engine, working);
    if (!stepped || !settled()) {
      settle(true);
      throw Stopped{};
    }
    if (working) continue;
    if (merge_if_due()) break;
    wait();
  }
  progress(counts);
}

SharedBatch::SharedBatch(const BatchOptions& options, const Log& log) : impl_(std::make_unique<Impl>()) {
  impl_->options = options;
  impl_->log = log;
  impl_->shard = options.shard.value_or(Shard{});
  impl_->open();
}

SharedBatch::~SharedBatch() = default;

const BatchCounts& SharedBatch::counts() const { return impl_->counts; }

bool SharedBatch::finished() const { return impl_->run().merged || impl_->claims->all_done(); }

void SharedBatch::confirm_model(const std::string& contents) {
  Impl& impl = *impl_;
  impl.contents = contents;
  const std::filesystem::path path = impl.folder->weights();
  try {
    OutputFile file(path, contents.size(), OutputFile::Links::kReplace);
    file.append(contents.data(), contents.size());
    if (file.finish_new()) return;
    const std::string theirs = read_small_file(path);
    if (theirs != contents)
      throw Error(ErrorKind::kBadRequest,
                  fmt::format("the weights of this process's model (checksum {}) are not those that {} was begun with "
                              "({}): its results would not fit the others'",
                              contents, impl.options.output.string(), theirs.empty() ? "unreadable" : theirs))
          .with(Remedy::kRemoveResults);
  } catch (const Error&) {
    if (!impl.merged()) throw;  // others finished since this one looked, and removed the folder
  }
}

// When others finish the run its folder goes, whatever this worker is doing in it.
void SharedBatch::run(Engine& engine, const BatchText& text, const Report& progress) {
  if (impl_->run().merged) return;
  try {
    impl_->work(engine, text, progress);
  } catch (const Error&) {
    if (!impl_->merged()) throw;
  }
}

void SharedBatch::conclude(const Report& progress) {
  Impl& impl = *impl_;
  if (impl.run().merged) return;
  try {
    const Presence presence(*impl.folder, impl.self, impl.shard.takeover);
    while (!impl.look(nullptr) && !impl.merge_if_due()) {
      if (!progress(impl.counts)) throw Stopped{};
      impl.wait();
    }
  } catch (const Error&) {
    if (!impl.merged()) throw;
  }
}

}  // namespace dodeca::runtime::batch
