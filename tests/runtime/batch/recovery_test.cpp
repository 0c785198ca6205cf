#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <random>
#include <thread>

#include "tests/runtime/batch/batch_fixture.hpp"

namespace {

using namespace dodeca::runtime;
using namespace dodeca::runtime::batch;
using namespace dodeca::tests;

// custom_id (or the line number of malformed lines) -> how often it is answered, over both files.
// torn: a last line without its end is no answer.
std::map<std::string, int> answered(const BatchSetup& setup, bool torn = false) {
  std::map<std::string, int> counts;
  for (const auto& path : {setup.options.output, setup.options.errors}) {
    const std::string text = read_text(path);
    for (const std::string& line : lines_of(torn ? text.substr(0, text.rfind('\n') + 1) : text)) {
      const Json json = Json::parse(line);
      ++counts[json["custom_id"].is_null() ? "line " + json["error"]["line"].dump()
                                           : json["custom_id"].get<std::string>()];
    }
  }
  return counts;
}

TEST_CASE("the results file cut at every byte: the same command ends with the same lines") {
  BatchSetup setup;
  write_text(setup.options.input, mixed_input(10));
  CHECK(setup.run().done() == 10);
  const std::string results = read_text(setup.options.output), errors = read_text(setup.options.errors);
  const auto result_set = line_set(setup.options.output), error_set = line_set(setup.options.errors);
  CHECK(result_set.size() == 8);
  CHECK(error_set.size() == 2);
  for (std::size_t cut = 0; cut <= results.size(); ++cut) {
    write_text(setup.options.output, results.substr(0, cut));
    const BatchCounts counts = setup.run();
    REQUIRE(counts.completed == 8);
    REQUIRE(counts.failed == 2);
    REQUIRE(line_set(setup.options.output) == result_set);
    REQUIRE(read_text(setup.options.errors) == errors);
  }
  for (std::size_t cut = 0; cut <= errors.size(); ++cut) {
    write_text(setup.options.errors, errors.substr(0, cut));
    REQUIRE(setup.run().failed == 2);
    REQUIRE(line_set(setup.options.errors) == error_set);
    REQUIRE(line_set(setup.options.output) == result_set);
  }
}

// Runs a batch in a child and kills it after `delay`, or never when negative. True when the child ended by itself.
bool run_and_kill(const BatchSetup& setup, std::chrono::microseconds delay) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    try {
      FakePass pass(engine::Engine::sequences_for(3), 3 * setup.context);
      engine::Engine engine(pass, FakePass::vocabulary(), {3, setup.context, 64, 16});
      Batch batch(setup.options, [](Level, std::string_view) {});
      batch.run(engine, fake_text(), [](const BatchCounts&) {
        ::usleep(100);
        return true;
      });
      ::_exit(0);
    } catch (...) {
      ::_exit(1);
    }
  }
  if (delay.count() >= 0) {
    std::this_thread::sleep_for(delay);
    ::kill(child, SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (WIFEXITED(status)) REQUIRE(WEXITSTATUS(status) == 0);
  return WIFEXITED(status);
}

TEST_CASE("killed with SIGKILL at random moments, every request is answered once and as without") {
  BatchSetup reference;
  const int n_requests = 30, n_kills = 200;
  write_text(reference.options.input, mixed_input(n_requests));
  const auto begin = std::chrono::steady_clock::now();
  run_and_kill(reference, std::chrono::microseconds(-1));
  const auto duration = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  std::mt19937 random(11);
  int kills = 0, finished = 0;
  while (kills < n_kills) {
    BatchSetup setup;
    write_text(setup.options.input, mixed_input(n_requests));
    // Four kills at most, so that a machine that is slow today does not keep the batch from ever ending.
    for (int attempt = 0; !run_and_kill(
             setup, attempt < 4 ? duration * static_cast<int>(random() % 1000) / 1000 : std::chrono::microseconds(-1));
         ++attempt) {
      ++kills;
      for (const auto& [id, count] : answered(setup, true)) REQUIRE(count == 1);
    }
    ++finished;
    CHECK(answered(setup) == answered(reference));
    // All but the time of the first start is equal.
    for (const std::string& line : lines_of(read_text(setup.options.output))) {
      Json mine = Json::parse(line), theirs = BatchSetup::line_of(reference.options.output, mine["custom_id"]);
      mine["response"]["body"].erase("created");
      theirs["response"]["body"].erase("created");
      REQUIRE(mine == theirs);
    }
    CHECK(line_set(setup.options.errors) == line_set(reference.options.errors));
    CHECK(std::distance(std::filesystem::directory_iterator(setup.folder.path), {}) ==
          4);  // input, output, errors, state
  }
  MESSAGE(kills, " kills over ", finished, " batches");
}

TEST_CASE("a clean stop keeps what is complete, and the same command goes on") {
  BatchSetup setup;
  write_text(setup.options.input, mixed_input(20));
  for (int stop_after = 1; stop_after < 12; ++stop_after) CHECK_THROWS_AS(setup.run(stop_after), Stopped);
  const std::size_t before = lines_of(read_text(setup.options.output)).size();
  const BatchCounts counts = setup.run();
  CHECK(counts.done() == 20);
  CHECK(counts.resumed >= static_cast<std::int64_t>(before));
  for (const auto& [id, count] : answered(setup)) CHECK(count == 1);
  const std::string results = read_text(setup.options.output);
  CHECK(setup.run().resumed == 20);  // nothing to do
  CHECK(read_text(setup.options.output) == results);
}

TEST_CASE("a full disk stops with a sentence, leaves no torn line, and the same command goes on") {
  BatchSetup setup;
  write_text(setup.options.input, mixed_input(20));
  setup.run();
  const auto results = line_set(setup.options.output), errors = line_set(setup.options.errors);
  const std::string text = read_text(setup.options.output), state = read_text(setup.state());
  rlimit old{};
  ::getrlimit(RLIMIT_FSIZE, &old);
  const auto ignored = ::signal(SIGXFSZ, SIG_IGN);
  for (std::size_t room = 0; room < text.size(); room += 97) {
    write_text(setup.options.output, "");
    rlimit limit = old;
    limit.rlim_cur = room;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string refusal = setup.refusal();
    ::setrlimit(RLIMIT_FSIZE, &old);
    REQUIRE(refusal.find("no room to write to") != std::string::npos);
    const std::string left = read_text(setup.options.output);
    REQUIRE((left.empty() || left.back() == '\n'));
    REQUIRE(left.size() <= room);
    setup.run();
    REQUIRE(line_set(setup.options.output) == results);
    REQUIRE(line_set(setup.options.errors) == errors);
  }
  ::signal(SIGXFSZ, ignored);
  CHECK(read_text(setup.state()) == state);
}

TEST_CASE("a changed input, model or default is refused unless told to begin anew") {
  BatchSetup setup;
  write_text(setup.options.input, mixed_input(10));
  setup.run();
  const std::string results = read_text(setup.options.output);
  write_text(setup.options.input, mixed_input(11));
  CHECK(setup.refusal().find("the input") != std::string::npos);
  CHECK(setup.refusal().find("resuming would mix results") != std::string::npos);
  CHECK(read_text(setup.options.output) == results);
  write_text(setup.options.input, mixed_input(10));
  setup.options.model_identity = "fake 2";
  CHECK(setup.refusal().find("the model, or an option that changes its numbers, has changed") != std::string::npos);
  setup.options.model_identity = "fake 1";
  setup.options.sampling.temperature = 0.5;
  CHECK(setup.refusal().find("sampling defaults have changed") != std::string::npos);
  CHECK(read_text(setup.options.output) == results);
  setup.options.sampling.temperature = 0;
  setup.options.prompt_making = "chat template chatml";
  CHECK(setup.refusal().find("the making of prompts has changed") != std::string::npos);
  CHECK(read_text(setup.options.output) == results);
  write_text(setup.options.input, mixed_input(11));
  setup.options.restart = true;
  const BatchCounts counts = setup.run();
  CHECK(counts.resumed == 0);
  CHECK(counts.done() == 11);
}

TEST_CASE("weights that changed behind the same outline are refused; the same ones elsewhere go on") {
  BatchSetup setup;
  write_text(setup.options.input, mixed_input(10));
  setup.options.model_stamp = "here";
  {
    Batch batch(setup.options, [](Level, std::string_view) {});
    CHECK_FALSE(batch.model_untouched());
    batch.confirm_model("weights 1");
    batch.confirm_model("weights 2");  // nothing is answered yet
    CHECK(batch.model_untouched());
  }
  setup.run();
  setup.options.model_stamp = "elsewhere";
  Batch batch(setup.options, [](Level, std::string_view) {});
  CHECK(batch.finished());
  CHECK_FALSE(batch.model_untouched());
  CHECK_THROWS_WITH_AS(batch.confirm_model("weights 1"), doctest::Contains("weights have changed"), Error);
  batch.confirm_model("weights 2");
  CHECK(batch.model_untouched());
}

TEST_CASE("an interrupted --restart never mixes old and new") {
  BatchSetup setup;
  write_text(setup.options.input, mixed_input(10));
  setup.run();
  // As left when killed between the new state and the emptying.
  Json state = Json::parse(read_text(setup.state()));
  state["restarting"] = true;
  state["input"] = "of another input";
  write_text(setup.state(), state.dump());
  const BatchCounts counts = setup.run();
  CHECK(counts.resumed == 0);
  CHECK(counts.done() == 10);
}

TEST_CASE("foreign, damaged and locked files are refused untouched") {
  BatchSetup setup;
  write_text(setup.options.input, mixed_input(10));
  SUBCASE("contents without a state") {
    write_text(setup.options.output, "my notes\n");
    CHECK(setup.refusal().find("not of an interrupted run") != std::string::npos);
    CHECK(read_text(setup.options.output) == "my notes\n");
  }
  SUBCASE("a damaged line before good ones") {
    setup.run();
    std::string text = read_text(setup.options.output);
    text[3] = '#';
    write_text(setup.options.output, text);
    CHECK(setup.refusal().find("line 1") != std::string::npos);
    CHECK(read_text(setup.options.output) == text);
  }
  SUBCASE("the same answer twice") {
    setup.run();
    const std::string text = read_text(setup.options.output) + lines_of(read_text(setup.options.output))[0] + "\n";
    write_text(setup.options.output, text);
    CHECK(setup.refusal().find("answered already") != std::string::npos);
    CHECK(read_text(setup.options.output) == text);
  }
  SUBCASE("the same request in results and errors") {
    setup.run();
    const std::string text = read_text(setup.options.errors) + lines_of(read_text(setup.options.output))[0] + "\n";
    write_text(setup.options.errors, text);
    CHECK(setup.refusal().find("answered already") != std::string::npos);
  }
  SUBCASE("zeros where a power cut left unwritten blocks") {
    setup.run();
    const auto set = line_set(setup.options.output);
    const std::string text = read_text(setup.options.output);
    write_text(setup.options.output, text.substr(0, text.find('\n') + 1) + std::string(4096, '\0'));
    setup.run();
    CHECK(line_set(setup.options.output) == set);
    CHECK(setup.notices.size() == 1);
  }
  SUBCASE("zeros in front of lines that reached the disk") {
    setup.run();
    const auto set = line_set(setup.options.output);
    std::string text = read_text(setup.options.output);
    const std::size_t second = text.find('\n') + 1;
    text.replace(second, 20, std::string(20, '\0'));
    write_text(setup.options.output, text);
    CHECK(setup.run().resumed == 3);  // the first result, two refusals
    CHECK(line_set(setup.options.output) == set);
    CHECK(setup.notices.size() == 1);
  }
  SUBCASE("a damaged state") {
    setup.run();
    for (const char* damage : {"", "{", "[1]", "{\"dodeca_batch\": 1}"}) {
      write_text(setup.state(), damage);
      const std::string refusal = setup.refusal();
      CHECK((refusal.find("not the state of a batch") != std::string::npos ||
             refusal.find("of another version") != std::string::npos));
    }
  }
  SUBCASE("another process") {
    const int fd = ::open(setup.options.output.c_str(), O_RDWR | O_CREAT, 0666);
    REQUIRE(::flock(fd, LOCK_EX) == 0);
    CHECK(setup.refusal().find("another process is writing") != std::string::npos);
    ::close(fd);
    CHECK(setup.refusal() == "");
  }
  SUBCASE("one file in two roles") {
    setup.options.errors = setup.options.output;
    CHECK(setup.refusal().find("are the same file") != std::string::npos);
    setup.options.errors = setup.folder.path / "e.jsonl";
    setup.options.output = setup.options.input;
    const std::string input = read_text(setup.options.input);
    CHECK(setup.refusal().find("are the same file") != std::string::npos);
    CHECK(read_text(setup.options.input) == input);
  }
  SUBCASE("no regular file") {
    setup.options.output = "/dev/null";
    CHECK(setup.refusal().find("not a regular file") != std::string::npos);
    setup.options.output = setup.folder.path / "nowhere" / "out.jsonl";
    CHECK(setup.refusal().find("cannot open") != std::string::npos);
  }
}

}  // namespace
