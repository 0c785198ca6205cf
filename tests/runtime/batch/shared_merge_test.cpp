// What becomes of the results of several processes: put together once, whoever is killed or begins anew meanwhile.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "runtime/base/file_roles.hpp"
#include "runtime/batch/merge.hpp"
#include "runtime/batch/run_folder.hpp"
#include "runtime/batch/state.hpp"
#include "runtime/batch/units.hpp"
#include "tests/runtime/batch/shared_fixture.hpp"

namespace {

using namespace dodeca::runtime;
using namespace dodeca::runtime::batch;
using namespace dodeca::tests;
using std::chrono::milliseconds;

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
