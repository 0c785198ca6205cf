#include "runtime/batch/shared_batch.hpp"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <random>
#include <thread>

#include "runtime/base/file_roles.hpp"
#include "runtime/batch/merge.hpp"
#include "runtime/batch/run_folder.hpp"
#include "runtime/batch/state.hpp"
#include "runtime/batch/units.hpp"
#include "tests/runtime/batch/batch_fixture.hpp"

namespace {

using namespace dodeca::runtime;
using namespace dodeca::runtime::batch;
using namespace dodeca::tests;
using std::chrono::milliseconds;

constexpr int kRequests = 60;

// Parsed lines without the time of the first start, in the file's order.
std::vector<Json> answers(const std::filesystem::path& path) {
  std::vector<Json> found;
  for (const std::string& line : lines_of(read_text(path))) {
    found.push_back(Json::parse(line));
    if (found.back()["response"].is_object()) found.back()["response"]["body"].erase("created");
  }
  return found;
}

std::vector<Json> sorted(std::vector<Json> lines) {
  std::sort(lines.begin(), lines.end(), [](const Json& a, const Json& b) { return a["id"] < b["id"]; });
  return lines;
}

// What a batch of one process makes of kRequests.
const BatchSetup& alone() {
  static BatchSetup setup;
  if (!std::filesystem::exists(setup.options.input)) {
    write_text(setup.options.input, mixed_input(kRequests));
    setup.run();
  }
  return setup;
}

struct SharedSetup : BatchSetup {
  SharedSetup() { write_text(options.input, mixed_input(kRequests)); }
  BatchOptions shard(std::int64_t index, std::int64_t count, milliseconds takeover = milliseconds(60000)) const {
    BatchOptions own = options;
    own.shard = Shard{index, count, takeover};
    own.sync_interval = milliseconds(0);
    return own;
  }
  // As the program does it. stop_after: calls of the progress function; pause: at each of them.
  BatchCounts work(const BatchOptions& own, int stop_after = -1, int pause_us = 0,
                   std::int64_t* generated = nullptr) const {
    FakePass pass(engine::Engine::sequences_for(own.n_parallel), own.n_parallel * context);
    engine::Engine engine(pass, FakePass::vocabulary(), {own.n_parallel, context, 64, 16});
    const std::unique_ptr<AnyBatch> batch = open_batch(own, [](Level, std::string_view) {});
    int calls = 0;
    const auto report = [&](const BatchCounts&) {
      if (pause_us > 0) ::usleep(static_cast<useconds_t>(pause_us));
      return ++calls != stop_after;
    };
    if (batch->finished()) {
      batch->conclude(report);
    } else {
      batch->confirm_model("weights");
      batch->run(engine, fake_text(), report);
    }
    if (generated != nullptr) *generated = engine.stats().generated_tokens;
    return batch->counts();
  }
  // In a process of its own, whose exit code is 0 when the batch is complete.
  pid_t start(const BatchOptions& own, int pause_us = 0) const {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child > 0) return child;
    try {
      const BatchCounts counts = work(own, -1, pause_us);
      ::_exit(counts.done() == counts.total ? 0 : 3);
    } catch (const Error& error) {
      ::fprintf(stderr, "%s\n", error.what());
      ::_exit(1);
    } catch (...) {
      ::_exit(2);
    }
  }
  std::string refusal(const BatchOptions& own) const {
    try {
      work(own);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  std::uint64_t run_number() const { return shared_run_of(state()).value().run; }
  RunFolder run_folder() const { return {options.output, run_number()}; }
  void remove_results() const {
    for (const auto& path : {options.output, options.errors, state()}) std::filesystem::remove(path);
  }
  std::int64_t n_files() const { return std::distance(std::filesystem::directory_iterator(folder.path), {}); }

  // One line for each request, those of one process, in the order of the input, and nothing else in the folder.
  void check_complete() const {
    const std::vector<Json> results = answers(options.output), errors = answers(options.errors);
    CHECK(sorted(results) == sorted(answers(alone().options.output)));
    CHECK(sorted(errors) == sorted(answers(alone().options.errors)));
    std::vector<std::int64_t> numbers;
    for (const Json& line : results)
      numbers.push_back(std::stoll(line["custom_id"].get<std::string>().substr(sizeof "request-" - 1)));
    CHECK(std::is_sorted(numbers.begin(), numbers.end()));
    CHECK(n_files() == 4);  // input, output, errors, state
  }
};

int wait_for(pid_t child) {
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_CASE("units are a sixteenth of a share and at most 64 requests") {
  CHECK(requests_of_unit(0, 8) == 1);
  CHECK(requests_of_unit(1, 1) == 1);
  CHECK(requests_of_unit(17, 1) == 2);
  CHECK(requests_of_unit(1000, 8) == 8);
  CHECK(requests_of_unit(1000000, 8) == 64);
  CHECK(count_units(0, 3) == 0);
  CHECK(count_units(7, 3) == 3);
  CHECK(count_units(7, std::numeric_limits<std::int64_t>::max()) == 1);  // as a damaged state may say
}

TEST_CASE("one shard of one gives what a batch without shards gives, in the order of the input") {
  SharedSetup setup;
  const BatchCounts counts = setup.work(setup.shard(0, 1));
  CHECK(counts.total == kRequests);
  CHECK(counts.completed == 48);
  CHECK(counts.failed == 12);
  setup.check_complete();
  const std::string results = read_text(setup.options.output);
  CHECK(setup.work(setup.shard(3, 4)).resumed == kRequests);  // whoever comes late has nothing to do
  CHECK(setup.BatchSetup::run().resumed == kRequests);        // nor has a batch without shards
  CHECK(read_text(setup.options.output) == results);
  CHECK(setup.n_files() == 4);
}

TEST_CASE("a file without requests, and more shards than requests") {
  SharedSetup setup;
  for (const int n : {0, 1, 2}) {
    write_text(setup.options.input, mixed_input(n));
    CHECK(setup.work(setup.shard(6, 7)).done() == n);
    CHECK(answers(setup.options.output).size() == static_cast<std::size_t>(n));
    setup.remove_results();
  }
}

TEST_CASE("processes at the same time answer every request once") {
  SharedSetup setup;
  std::vector<pid_t> children;
  for (int n = 0; n < 3; ++n) children.push_back(setup.start(setup.shard(n, 3), 200));
  for (const pid_t child : children) CHECK(wait_for(child) == 0);
  setup.check_complete();
}

TEST_CASE("processes killed at random moments, one or all, and started again: every request once and as without") {
  std::mt19937 random(1811);
  int n_kills = 0;
  for (int batch = 0; batch < 12; ++batch) {
    SharedSetup setup;
    std::vector<pid_t> children(3);
    for (int n = 0; n < 3; ++n) children[n] = setup.start(setup.shard(n, 3), 200);
    for (int attempt = 0; attempt < 6; ++attempt) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 40000));
      for (int n = 0; n < 3; ++n) {
        if (attempt % 3 != 2 && n != attempt % 3) continue;  // one, another one, all
        ::kill(children[n], SIGKILL);
        n_kills += wait_for(children[n]) == 128 + SIGKILL;
        children[n] = setup.start(setup.shard(n, 3), 200);
      }
    }
    for (const pid_t child : children) CHECK(wait_for(child) == 0);
    setup.check_complete();
  }
  CHECK(n_kills >= 12);  // of 120; the others came when the batch was done
}

TEST_CASE("a process that sleeps while others take over and finish wakes up, spoils nothing and ends well") {
  SharedSetup setup;
  const BatchOptions sleeper = setup.shard(0, 2, milliseconds(250));
  const pid_t child = setup.start(sleeper, 3000);
  const auto claimed = [&](std::string_view which) {
    for (int n = 0; n < 20000; ++n) {
      std::this_thread::sleep_for(milliseconds(1));
      if (!shared_run_of(setup.state())) continue;
      std::error_code error;
      for (auto entry = std::filesystem::directory_iterator(setup.run_folder().path(), error);
           !error && entry != std::filesystem::directory_iterator(); entry.increment(error))
        if (entry->path().filename().string().find(which) != std::string::npos) return true;
    }
    return false;
  };
  REQUIRE(claimed(".claim-"));
  ::kill(child, SIGSTOP);
  SUBCASE("until the end") {
    setup.work(setup.shard(1, 2, milliseconds(250)));
    setup.check_complete();
    const std::string results = read_text(setup.options.output);
    ::kill(child, SIGCONT);
    CHECK(wait_for(child) == 0);
    CHECK(read_text(setup.options.output) == results);
  }
  SUBCASE("until others are at its units") {
    const pid_t other = setup.start(setup.shard(1, 2, milliseconds(250)), 3000);
    CHECK(claimed(".claim-2"));
    ::kill(child, SIGCONT);
    CHECK(wait_for(child) == 0);
    CHECK(wait_for(other) == 0);
  }
  setup.check_complete();
}

TEST_CASE("what a stopped or killed worker left of a unit is not computed again") {
  SharedSetup setup;
  std::int64_t all = 0, rest = 0;
  setup.work(setup.shard(0, 1), -1, 0, &all);
  SharedSetup again;
  const BatchOptions one = again.shard(0, 1);
  std::int64_t finished = 0, unfinished = 0;  // tokens in whole units and in others
  for (int calls = 40; unfinished == 0; ++calls) {
    CHECK_THROWS_AS(again.work(one, calls), Stopped);
    finished = 0;
    for (const auto& entry : std::filesystem::directory_iterator(again.run_folder().path())) {
      const std::string name = entry.path().filename().string();
      const bool done = name.ends_with(".done");
      if (!done && name.find(".work-") == std::string::npos) continue;
      for (const Json& line : answers(entry.path()))
        if (line["response"].is_object() && line["response"]["body"].contains("usage"))
          (done ? finished : unfinished) += line["response"]["body"]["usage"]["completion_tokens"].get<std::int64_t>();
    }
  }
  CHECK(again.work(one, -1, 0, &rest).done() == kRequests);
  CHECK(rest <= all - finished - unfinished);
  again.check_complete();
}

TEST_CASE("a unit's half-written, damaged and foreign lines are not taken over") {
  SharedSetup setup;
  const BatchOptions own = setup.shard(0, 1);
  CHECK_THROWS_AS(setup.work(own, 20), Stopped);
  const RunFolder run = setup.run_folder();
  int n_damaged = 0;
  for (const auto& entry : std::filesystem::directory_iterator(run.path())) {
    const std::string name = entry.path().filename().string();
    if (name.find(".work-") == std::string::npos) continue;
    const std::string text = read_text(entry.path());
    const std::string foreign = R"({"id":"batch_req_0","custom_id":"x","response":null,"error":null})";
    std::string damaged = foreign;
    for (const std::string& piece : {std::string("\n"), text, text, std::string(100, '\0')}) damaged += piece;
    write_text(entry.path(), damaged.append("\n{\"id\":\"batch_r"));
    ++n_damaged;
  }
  CHECK(n_damaged > 0);
  setup.work(own);
  setup.check_complete();
}

TEST_CASE("a worker with other requests, another model, other weights or options is refused, and the others go on") {
  SharedSetup setup;
  CHECK_THROWS_AS(setup.work(setup.shard(0, 2), 20), Stopped);
  BatchOptions other = setup.shard(1, 2);
  SUBCASE("requests") {
    other.input = setup.folder.path / "other.jsonl";
    write_text(other.input, mixed_input(kRequests + 1));
    CHECK(setup.refusal(other).find("has changed since") != std::string::npos);
    std::filesystem::remove(other.input);
  }
  SUBCASE("model") {
    other.model_identity = "fake 2";
    CHECK(setup.refusal(other).find("the model, or an option that changes its numbers") != std::string::npos);
  }
  SUBCASE("sampling") {
    other.sampling.temperature = 1;
    CHECK(setup.refusal(other).find("sampling defaults have changed") != std::string::npos);
  }
  SUBCASE("prompts") {
    other.prompt_making = "chat template chatml";
    CHECK(setup.refusal(other).find("the making of prompts has changed") != std::string::npos);
  }
  SUBCASE("weights") {
    const auto batch = open_batch(other, [](Level, std::string_view) {});
    CHECK_THROWS_WITH_AS(batch->confirm_model("others"),
                         doctest::Contains("weights of this process's model (checksum others) are not those"), Error);
    CHECK_THROWS_WITH_AS(batch->confirm_model("others"), doctest::Contains("was begun with (weights)"), Error);
    batch->confirm_model("weights");
  }
  SUBCASE("one process alone") {
    other.shard.reset();
    CHECK(setup.refusal(other).find("is being answered by several processes") != std::string::npos);
  }
  SUBCASE("to begin anew") {
    other.restart = true;
    CHECK(setup.refusal(other).find("cannot begin a batch anew for all") != std::string::npos);
  }
  SUBCASE("another number of shards is no other option") { CHECK(setup.refusal(setup.shard(4, 9)) == ""); }
  setup.work(setup.shard(0, 2));
  setup.check_complete();
}

TEST_CASE("results of one process, and files of others, are not joined") {
  SharedSetup setup;
  SUBCASE("under way") {
    CHECK_THROWS_AS(setup.BatchSetup::run(10), Stopped);
    const std::string before = read_text(setup.options.output);
    CHECK(setup.refusal(setup.shard(0, 2)).find("was begun by one process alone") != std::string::npos);
    CHECK(read_text(setup.options.output) == before);
  }
  SUBCASE("without a state") {
    for (const auto& path : {setup.options.output, setup.options.errors}) {
      write_text(path, "my notes\n");
      CHECK(setup.refusal(setup.shard(0, 2)).find("not of an interrupted run") != std::string::npos);
      CHECK(read_text(path) == "my notes\n");
      CHECK(setup.n_files() == 2);
      std::filesystem::remove(path);
    }
  }
  SUBCASE("changed after the end") {
    setup.work(setup.shard(0, 1));
    write_text(setup.options.output, "");
    const std::string why = setup.refusal(setup.shard(0, 1));
    CHECK(why.find("out.jsonl was changed after") != std::string::npos);
    CHECK(why.find("has 0 now") != std::string::npos);
    CHECK(setup.BatchSetup::run().done() == kRequests);  // it mends them
  }
  SUBCASE("a link under the name of the state") {
    std::filesystem::create_symlink(setup.folder.path / "victim", setup.state());
    CHECK(setup.refusal(setup.shard(0, 1)).find("symbolic link") != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(setup.folder.path / "victim"));
  }
  SUBCASE("a link under the name of the run's folder") {
    CHECK_THROWS_AS(setup.work(setup.shard(0, 1), 5), Stopped);
    const auto path = setup.run_folder().path(), victim = setup.folder.path / "victim";
    std::filesystem::rename(path, victim);
    std::filesystem::create_symlink(victim, path);
    CHECK(setup.refusal(setup.shard(0, 1)).find("is no folder") != std::string::npos);
  }
  SUBCASE("folders that cannot be written") {
    setup.options.output = setup.folder.path / "nowhere" / "out.jsonl";
    setup.options.errors = setup.folder.path / "errors.jsonl";
    CHECK(setup.refusal(setup.shard(0, 1)).find("cannot create") != std::string::npos);
    CHECK(setup.n_files() == 1);
  }
}

TEST_CASE("begun anew by one process alone: the shards go, and a worker of the old run does nothing more") {
  SharedSetup setup;
  const BatchOptions own = setup.shard(0, 2);
  FakePass pass(engine::Engine::sequences_for(3), 3 * setup.context);
  engine::Engine engine(pass, FakePass::vocabulary(), {3, setup.context, 64, 16});
  const auto old = open_batch(own, [](Level, std::string_view) {});
  old->confirm_model("weights");
  bool begun = false;
  const auto anew = [&](const BatchCounts&) {
    if (!std::exchange(begun, true)) {
      setup.options.restart = true;
      setup.BatchSetup::run();
    }
    return true;
  };
  CHECK_THROWS_WITH_AS(old->run(engine, fake_text(), anew), doctest::Contains("was begun anew"), Error);
  CHECK(sorted(answers(setup.options.output)) == sorted(answers(alone().options.output)));
  CHECK(setup.n_files() == 4);
}

TEST_CASE("a worker in the middle of a unit ends well when others finish the batch") {
  SharedSetup setup;
  FakePass pass(engine::Engine::sequences_for(3), 3 * setup.context);
  engine::Engine engine(pass, FakePass::vocabulary(), {3, setup.context, 64, 16});
  const auto late = open_batch(setup.shard(0, 2), [](Level, std::string_view) {});
  late->confirm_model("weights");
  int calls = 0;
  late->run(engine, fake_text(), [&](const BatchCounts&) {
    if (++calls != 5) return true;
    State whole = read_state(setup.state(), Remedy::kNone).value();
    whole.shared->merged = true;
    whole.shared->counts = {kRequests, 48, 12, 0};
    write_state(setup.state(), whole);
    setup.run_folder().remove();
    return true;
  });
  CHECK(late->counts().completed == 48);
  CHECK(late->finished());
  CHECK(setup.n_files() == 2);  // the input and the state: it wrote nothing
}

TEST_CASE("killed between the two names of the state: it is joined, and begun anew, all the same") {
  SharedSetup setup;
  CHECK_THROWS_AS(setup.work(setup.shard(0, 1), 5), Stopped);
  std::filesystem::create_hard_link(setup.state(), setup.state().string() + ".17.0.tmp");
  SUBCASE("joined") { setup.work(setup.shard(0, 1)); }
  SUBCASE("begun anew") {
    setup.options.restart = true;
    setup.BatchSetup::run();
  }
  CHECK(setup.n_files() == 4);
}

// A batch that is answered and merged, with the way back to where all its units were done and nothing was merged.
struct FinishedRun {
  explicit FinishedRun(const SharedSetup& setup)
      : options(setup.options),
        input(options.input),
        merged(read_state(state_path(options.output), Remedy::kNone).value()),
        folder(options.output, merged.shared->run),
        results(read_text(options.output)),
        errors(read_text(options.errors)) {}

  void restore() const {
    State before = merged;
    before.shared->merged = false;
    write_state(state_path(options.output), before);
    folder.make();
    write_text(folder.weights(), "weights");
    for (std::int64_t unit = 0; unit < count_units(kRequests, merged.shared->unit_requests); ++unit) {
      std::string text;
      for (const InputLine& line : lines_of_unit(input, merged.shared->unit_requests, unit))
        for (const std::string& file : {results, errors})
          for (const std::string& answer : lines_of(file))
            if (answer.find(line.id) != std::string::npos) text.insert(0, "\n").insert(0, answer);
      write_text(folder.done(unit), text);
    }
  }
  Merged merge() const { return merge_units(folder, input, merged.shared->unit_requests, options); }

  BatchOptions options;
  InputIndex input;
  State merged;
  RunFolder folder;
  std::string results, errors;
};

TEST_CASE("killed while the results are put together, at any step: the next one ends it and removes what is left") {
  SharedSetup setup;
  setup.work(setup.shard(0, 1));
  const FinishedRun finished(setup);
  finished.restore();
  SUBCASE("before the results") { std::filesystem::remove(setup.options.output); }
  SUBCASE("between results and errors") { std::filesystem::remove(setup.options.errors); }
  SUBCASE("before the state") {}
  const auto leave_temporary_files = [&] {
    for (const auto& path : {setup.options.output, setup.options.errors, setup.state()})
      write_text(path.string() + ".12345.0.tmp", "half");
  };
  SUBCASE("with temporary files") { leave_temporary_files(); }
  SUBCASE("after the state") { write_state(setup.state(), finished.merged); }
  SUBCASE("after the state, with temporary files of one that was killed earlier") {
    write_state(setup.state(), finished.merged);
    leave_temporary_files();
  }
  SUBCASE("two at the same time") {
    const pid_t child = ::fork();
    for (int n = 0; n < 20; ++n) CHECK(finished.merge().counts.done() == kRequests);
    if (child == 0) ::_exit(0);
    CHECK(wait_for(child) == 0);
  }
  CHECK(setup.work(setup.shard(0, 1)).completed == 48);
  CHECK(read_text(setup.options.output) == finished.results);
  CHECK(read_text(setup.options.errors) == finished.errors);
  setup.check_complete();
}

TEST_CASE(
    "a process that sleeps while it puts the results together does nothing to a batch that was begun anew since") {
  SharedSetup setup;
  CHECK_THROWS_AS(setup.work(setup.shard(0, 1), 80), Stopped);
  const RunFolder run = setup.run_folder();
  const InputIndex input(setup.options.input);
  const State old = read_state(setup.state(), Remedy::kNone).value();
  // As it began them, and fell asleep.
  OutputFile state(setup.state(), 0, OutputFile::Links::kReplace), results(setup.options.output);
  bool at_work = false;
  SUBCASE("merged by another, then changed") {
    setup.work(setup.shard(0, 1));
    write_text(setup.options.output, "mine now\n");
  }
  SUBCASE("begun anew") {
    setup.options.restart = true;
    setup.BatchSetup::run();
  }
  SUBCASE("removed, and begun by one process alone") {
    setup.remove_results();
    setup.BatchSetup::run();
  }
  SUBCASE("removed, and begun by processes that are still at work") {
    setup.remove_results();
    CHECK_THROWS_AS(setup.work(setup.shard(0, 1), 80), Stopped);
    at_work = true;
  }
  const std::string now = read_text(setup.options.output), state_now = read_text(setup.state());
  CHECK_THROWS_AS(results.finish(), Error);
  CHECK_THROWS_AS(finish_state(state, old), Error);
  CHECK_THROWS_AS(merge_units(run, input, old.shared->unit_requests, setup.options), Error);
  CHECK(read_text(setup.options.output) == now);
  CHECK(read_text(setup.state()) == state_now);
  if (at_work) {
    setup.work(setup.shard(0, 1));
    setup.check_complete();
  }
  CHECK(setup.n_files() == 4);
}

TEST_CASE("begun anew while a worker puts the results together: the old ones never come over the new ones") {
  SharedSetup setup;
  setup.work(setup.shard(0, 1));
  const FinishedRun finished(setup);
  setup.options.input = setup.folder.path / "other.jsonl";
  // The worker merges several times while this is read.
  write_text(setup.options.input, "{\"custom_id\": broken" + std::string(std::size_t{8} << 20, ' ') + "\n");
  setup.options.restart = true;
  for (int n = 0; n < 20; ++n) {
    finished.restore();
    const pid_t child = ::fork();
    if (child == 0) {
      while (std::filesystem::exists(finished.folder.path())) try {
          finished.merge();
        } catch (const Error&) {  // its temporary files, or the folder, are gone
        }
      ::_exit(0);
    }
    ::usleep(3000);
    CHECK(setup.BatchSetup::run().failed == 1);
    CHECK(wait_for(child) == 0);
    CHECK(lines_of(read_text(setup.options.errors)).size() == 1);
    CHECK(read_text(setup.options.output).empty());
    CHECK(setup.n_files() == 5);  // as always, and another input
  }
}

TEST_CASE("processes that come while others begin a short batch, and end it: every one ends well, and leftovers go") {
  for (int n = 0; n < 20; ++n) {
    SharedSetup setup;
    write_text(setup.options.input, mixed_input(3));
    for (int file = 0; file < 20; ++file)
      write_text(setup.options.output.string() + ".12345." + std::to_string(file) + ".tmp", "half");
    std::vector<pid_t> children;
    for (int process = 0; process < 6; ++process) children.push_back(setup.start(setup.shard(process, 6)));
    for (const pid_t child : children) CHECK(wait_for(child) == 0);
    CHECK(setup.n_files() == 4);
  }
}

// Whoever begins a batch may do so late, when others already merge it.
TEST_CASE("temporary files of a merge that vanish once are made again") {
  bool removed = false;
  for (int n = 0; n < 100 && !removed; ++n) {
    SharedSetup setup;
    std::atomic<bool> over = false;
    std::thread remover([&] {
      while (!over && !removed)
        for (const auto& path : numbered_files(setup.options.output, kTemporaryTail))
          removed = removed || std::filesystem::remove(path);
    });
    std::string refused;
    try {
      setup.work(setup.shard(0, 1));
    } catch (const Error& error) {
      refused = error.what();
    }
    over = true;
    remover.join();
    CHECK(refused == "");
    setup.check_complete();
  }
  CHECK(removed);
}

TEST_CASE("a state that is moved away, or of another run, costs no answer") {
  SharedSetup setup;
  const BatchOptions own = setup.shard(0, 1);
  CHECK_THROWS_AS(setup.work(own, 60), Stopped);
  const State old = read_state(setup.state(), Remedy::kNone).value();
  const RunFolder run = setup.run_folder();
  const auto n_done = [&] {
    const auto units = run.list(count_units(kRequests, old.shared->unit_requests));
    return std::count_if(units.begin(), units.end(), [](const UnitFiles& unit) { return unit.done; });
  };
  const std::int64_t before = n_done();
  REQUIRE(before > 0);
  FakePass pass(engine::Engine::sequences_for(3), 3 * setup.context);
  engine::Engine engine(pass, FakePass::vocabulary(), {3, setup.context, 64, 16});
  const auto worker = open_batch(own, [](Level, std::string_view) {});
  worker->confirm_model("weights");
  std::filesystem::remove(setup.state());
  const char* why = "";
  SUBCASE("moved away") { why = "is gone"; }
  SUBCASE("of another run") {
    why = "was begun anew";
    State other = old;
    other.shared->run ^= 1;
    write_state(setup.state(), other);
  }
  CHECK_THROWS_WITH_AS(worker->run(engine, fake_text(), [](const BatchCounts&) { return true; }),
                       doctest::Contains(why), Error);
  CHECK(n_done() >= before);
  write_state(setup.state(), old);
  CHECK(setup.work(own).resumed > 0);
  setup.check_complete();
}

TEST_CASE("a unit that was changed is not merged") {
  SharedSetup setup;
  const BatchOptions own = setup.shard(0, 1);
  CHECK_THROWS_AS(setup.work(own, 80), Stopped);
  const RunFolder run = setup.run_folder();
  REQUIRE(std::filesystem::exists(run.done(0)));
  const std::string text = read_text(run.done(0));
  SUBCASE("a line less") { write_text(run.done(0), text.substr(text.find('\n') + 1)); }
  SUBCASE("a line twice") { write_text(run.done(0), text + text); }
  SUBCASE("no line") { write_text(run.done(0), "x\n"); }
  SUBCASE("a line of another unit") { write_text(run.done(0), text + read_text(run.done(1))); }
  CHECK(setup.refusal(own).find("the file was changed") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(setup.options.output));
  CHECK_FALSE(shared_run_of(setup.state())->merged);
  write_text(run.done(0), text);
  setup.work(own);
  setup.check_complete();
}

}  // namespace
