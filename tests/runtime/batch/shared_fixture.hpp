// A batch that several processes answer.
#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "runtime/batch/run_folder.hpp"
#include "runtime/batch/shared_batch.hpp"
#include "runtime/batch/state.hpp"
#include "tests/runtime/batch/batch_fixture.hpp"

namespace dodeca::tests {

using namespace runtime;
using namespace runtime::batch;
using std::chrono::milliseconds;

inline constexpr int kRequests = 60;

// Parsed lines without the time of the first start, in the file's order.
inline std::vector<Json> answers(const std::filesystem::path& path) {
  std::vector<Json> found;
  for (const std::string& line : lines_of(read_text(path))) {
    found.push_back(Json::parse(line));
    if (found.back()["response"].is_object()) found.back()["response"]["body"].erase("created");
  }
  return found;
}

inline std::vector<Json> sorted(std::vector<Json> lines) {
  std::sort(lines.begin(), lines.end(), [](const Json& a, const Json& b) { return a["id"] < b["id"]; });
  return lines;
}

// What a batch of one process makes of kRequests.
inline const BatchSetup& alone() {
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

inline int wait_for(pid_t child) {
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace dodeca::tests
