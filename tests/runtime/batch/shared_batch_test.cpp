#include "runtime/batch/shared_batch.hpp"

#include <doctest/doctest.h>
#include <signal.h>

#include <chrono>
#include <limits>
#include <random>
#include <thread>

#include "runtime/base/file_roles.hpp"
#include "runtime/batch/run_folder.hpp"
#include "runtime/batch/state.hpp"
#include "runtime/batch/units.hpp"
#include "tests/runtime/batch/shared_fixture.hpp"

namespace {

using namespace dodeca::runtime;
using namespace dodeca::runtime::batch;
using namespace dodeca::tests;
using std::chrono::milliseconds;

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

}  // namespace
