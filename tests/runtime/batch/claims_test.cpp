#include "runtime/batch/claims.hpp"

#include <doctest/doctest.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <limits>
#include <memory>

#include "tests/runtime/batch/batch_fixture.hpp"

namespace {

using namespace dodeca::runtime;
using namespace dodeca::runtime::batch;
using namespace dodeca::tests;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int64_t kUnits = 6;
constexpr seconds kTakeover{60}, kInterval{5};

// A folder, and a clock that moves when told to.
struct Storage {
  Folder folder;
  RunFolder run{folder.path / "out", 7};
  std::chrono::steady_clock::time_point time{seconds(1000)};
  Storage() { run.make(); }
};

// A worker as if on a machine of its own: nobody but its file tells of it.
struct Node {
  WorkerIdentity identity;
  bool ended_seen = false;  // what this one finds when it looks for the processes of others
  std::unique_ptr<WorkerFile> file;
  Claims claims;

  Node(Storage& storage, const std::string& name, seconds takeover = kTakeover, seconds interval = kInterval)
      : identity{name, "host-" + name, "", "boot-" + name, "space", 1, 2},
        file(std::make_unique<WorkerFile>(storage.run, identity, interval)),
        claims(storage.run, kUnits, identity,
               {takeover, [&storage] { return storage.time; }, [this](const WorkerIdentity&) { return ended_seen; }},
               [](Level, std::string_view) {}) {}
};

TEST_CASE("a unit is one worker's: by what was seen, and by what was not yet seen") {
  Storage storage;
  Node a(storage, "a"), b(storage, "b");
  a.claims.look();
  b.claims.look();
  CHECK(a.claims.claim(0) == 1);
  CHECK_FALSE(b.claims.claimed(0));  // its listing is old
  CHECK_FALSE(b.claims.claim(0));
  CHECK(b.claims.claimed(0));
  CHECK_FALSE(b.claims.claim(0));
  CHECK_FALSE(a.claims.claim(0));  // it has it already
  CHECK(b.claims.claim(1) == 1);
  a.claims.look();
  CHECK(a.claims.claimed(1));
  CHECK_FALSE(a.claims.claim(1));
  CHECK_FALSE(a.claims.lost(0, 1));
  write_text(storage.run.done(2), "");
  a.claims.look();
  CHECK(a.claims.done(2));
  CHECK(a.claims.n_done() == 1);
  CHECK_FALSE(a.claims.claim(2));
}

TEST_CASE("a worker whose count stands still is taken over, by the watcher's clock, and one that counts is not") {
  Storage storage;
  Node a(storage, "a"), b(storage, "b");
  REQUIRE(a.claims.claim(0) == 1);
  const auto pass = [&](seconds time, bool beats) {
    for (seconds step{0}; step < time; step += kInterval) {
      storage.time += kInterval;
      if (beats) a.file->beat();
      b.claims.look();
    }
  };
  b.claims.look();
  pass(seconds(300), true);
  CHECK_FALSE(b.claims.claim(0));
  pass(seconds(55), false);
  CHECK_FALSE(b.claims.claim(0));
  pass(seconds(5), false);
  CHECK(b.claims.claim(0) == 2);
  // Who slept learns it when it looks, and does not take it back.
  a.file->beat();
  CHECK_FALSE(a.claims.lost(0, 1));
  a.claims.look();
  CHECK(a.claims.lost(0, 1));
  CHECK_FALSE(a.claims.claim(0));
}

TEST_CASE("a watcher that slept itself does not take one long silence for an end") {
  Storage storage;
  Node a(storage, "a"), b(storage, "b");
  REQUIRE(a.claims.claim(0) == 1);
  b.claims.look();
  storage.time += seconds(10000);
  b.claims.look();
  CHECK_FALSE(b.claims.claim(0));
  a.file->beat();
  b.claims.look();
  storage.time += seconds(10000);
  b.claims.look();
  CHECK_FALSE(b.claims.claim(0));
}

TEST_CASE("a watcher in a hurry waits for four of the owner's intervals") {
  Storage storage;
  Node a(storage, "a"), b(storage, "b", seconds(2));
  REQUIRE(a.claims.claim(0) == 1);
  b.claims.look();
  for (int n = 0; n < 39; ++n) {
    storage.time += milliseconds(500);
    b.claims.look();
  }
  CHECK_FALSE(b.claims.claim(0));
  storage.time += milliseconds(500);
  b.claims.look();
  CHECK(b.claims.claim(0) == 2);
}

TEST_CASE("a worker that left, or is known to have ended, is taken over at once") {
  Storage storage;
  Node a(storage, "a"), b(storage, "b");
  REQUIRE(a.claims.claim(0) == 1);
  REQUIRE(a.claims.claim(1) == 1);
  b.claims.look();
  CHECK_FALSE(b.claims.claim(0));
  SUBCASE("left") { a.file.reset(); }
  SUBCASE("ended") { b.ended_seen = true; }
  b.claims.look();
  CHECK(b.claims.claim(0) == 2);
  CHECK(b.claims.claim(1) == 2);
}

TEST_CASE("of two who take over one succeeds, and its turn may come again") {
  Storage storage;
  Node a(storage, "a"), b(storage, "b"), c(storage, "c");
  REQUIRE(a.claims.claim(0) == 1);
  a.file.reset();
  b.claims.look();
  c.claims.look();
  CHECK(b.claims.claim(0) == 2);
  CHECK_FALSE(c.claims.claim(0));  // and is told what it did not see
  CHECK_FALSE(c.claims.claim(0));
  b.file.reset();
  c.claims.look();
  CHECK(c.claims.claim(0) == 3);
}

TEST_CASE("a claim whose worker has no file, or a damaged one, is taken over when time has passed") {
  Storage storage;
  Node a(storage, "a"), b(storage, "b");
  REQUIRE(a.claims.claim(0) == 1);
  SUBCASE("none") { std::filesystem::remove(storage.run.worker("a")); }
  SUBCASE("damaged") { write_text(storage.run.worker("a"), "{\n"); }
  SUBCASE("of another kind") { write_text(storage.run.worker("a"), "{\"token\": 1}\nleft"); }
  b.claims.look();
  CHECK_FALSE(b.claims.claim(0));
  for (int n = 0; n < 12; ++n) {
    storage.time += seconds(5);
    b.claims.look();
  }
  CHECK(b.claims.claim(0) == 2);
}

TEST_CASE("what is no small regular file is read as none, and nobody waits for it") {
  Storage storage;
  const auto path = storage.run.claim(0, 1);
  write_text(path, std::string(kSmallFile, 'x'));
  CHECK(read_small_file(path).size() == kSmallFile);
  CHECK_FALSE(read_small_file("/proc/self/stat").empty());
  std::filesystem::remove(path);
  SUBCASE("none") {}
  SUBCASE("a FIFO") { REQUIRE(::mkfifo(path.c_str(), 0600) == 0); }
  SUBCASE("a device") { std::filesystem::create_symlink("/dev/zero", path); }
  SUBCASE("a folder") { std::filesystem::create_directory(path); }
  SUBCASE("too long") { write_text(path, std::string(kSmallFile + 1, 'x')); }
  CHECK(read_small_file(path).empty());
  Node a(storage, "a");
  a.claims.look();
  CHECK_FALSE(a.claims.done(0));
}

TEST_CASE("an interval in a worker's file that no worker has does not keep its units for ever") {
  Storage storage;
  Node a(storage, "a"), b(storage, "b");
  REQUIRE(a.claims.claim(0) == 1);
  const auto path = storage.run.worker("a");
  Json json = Json::parse(lines_of(read_text(path))[0]);
  SUBCASE("long") { json["interval_ms"] = 1000000000000; }
  SUBCASE("beyond what fits") { json["interval_ms"] = std::numeric_limits<std::int64_t>::max(); }
  SUBCASE("negative") { json["interval_ms"] = std::numeric_limits<std::int64_t>::min(); }
  SUBCASE("without a sign") { json["interval_ms"] = std::numeric_limits<std::uint64_t>::max(); }
  SUBCASE("no integer") { json["interval_ms"] = 1e300; }
  write_text(path, json.dump() + "\nhere 1\n");
  b.claims.look();
  for (int n = 0; n < 12; ++n) {
    CHECK_FALSE(b.claims.claim(0));
    storage.time += seconds(5);
    b.claims.look();
  }
  CHECK(b.claims.claim(0) == 2);
}

TEST_CASE("claims with numbers that dodeca does not give are none, and a unit is not claimed for ever") {
  Storage storage;
  Node a(storage, "a");
  for (const char* number : {"9223372036854775807", "2000000000", "10001", "0", "01"})
    write_text(storage.run.path() / (std::string("unit-0.claim-") + number), "nobody\n");
  a.claims.look();
  CHECK_FALSE(a.claims.claimed(0));
  CHECK(a.claims.claim(0) == 1);
  write_text(storage.run.claim(1, kMaxGenerations), "nobody\n");
  for (int n = 0; n < 13; ++n) {
    a.claims.look();
    storage.time += seconds(5);
  }
  CHECK_THROWS_WITH_AS(a.claims.claim(1), doctest::Contains("was taken over 10000 times"), Error);
}

TEST_CASE("only units are done: no file stands for the merging, or twice for a unit") {
  Storage storage;
  Node a(storage, "a");
  for (std::int64_t unit = 0; unit < kUnits - 1; ++unit) write_text(storage.run.done(unit), "");
  write_text(storage.run.done(a.claims.merging()), "");
  write_text(storage.run.path() / ("unit-0" + std::to_string(kUnits - 1) + ".done"), "");
  a.claims.look();
  CHECK(a.claims.n_done() == kUnits - 1);
  CHECK_FALSE(a.claims.all_done());
  write_text(storage.run.done(kUnits - 1), "");
  a.claims.look();
  CHECK(a.claims.all_done());
  CHECK(a.claims.claim(a.claims.merging()) == 1);
}

TEST_CASE("a folder that is gone ends it, and names that are not ours change nothing") {
  Storage storage;
  Node a(storage, "a");
  for (const char* name : {"unit-1", "unit-x.done", "unit-99.done", "unit-1.claim-", "unit-1.claim-2.123.0.tmp",
                           "unit--1.claim-1", "unit-2.doner", "notes"})
    write_text(storage.run.path() / name, "");
  a.claims.look();
  CHECK(a.claims.n_done() == 0);
  for (std::int64_t unit = 0; unit < kUnits; ++unit) CHECK_FALSE(a.claims.claimed(unit));
  storage.run.remove();
  CHECK(std::filesystem::exists(storage.run.path() / "notes"));  // somebody else's
  std::filesystem::remove(storage.run.path() / "notes");
  storage.run.remove();
  CHECK_FALSE(std::filesystem::exists(storage.run.path()));
  CHECK_THROWS_WITH_AS(a.claims.look(), doctest::Contains("cannot read the folder"), Error);
  CHECK_THROWS_AS(a.claims.claim(0), Error);
  a.file->beat();
  CHECK_FALSE(std::filesystem::exists(storage.run.path()));
}

TEST_CASE("this system's processes are known to live or to have ended; others' are not") {
  const WorkerIdentity self = this_worker();
  CHECK(self.process == ::getpid());
  CHECK(self.token.size() == 16);
  CHECK(self.token != this_worker().token);
  CHECK_FALSE(has_ended(self));
  WorkerIdentity other = self;
  other.started += 1;  // the number was given to another process since
  CHECK(has_ended(other));
  other.boot = "another system";
  CHECK_FALSE(has_ended(other));
  other = self;
  other.process_space = "another container";
  other.started += 1;
  CHECK_FALSE(has_ended(other));
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  other = self;
  other.process = child;
  siginfo_t info;
  REQUIRE(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) == 0);
  CHECK(has_ended(other));  // a zombie
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  CHECK(has_ended(other));
}

TEST_CASE("a process of another user that /proc hides has not ended") {
  const WorkerIdentity self = this_worker();
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("proc", "/proc", "proc", 0, "hidepid=2") != 0 || ::setgroups(0, nullptr) != 0 ||
        ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)
      ::_exit(2);
    if (std::filesystem::exists("/proc/" + std::to_string(self.process))) ::_exit(2);
    ::_exit(has_ended(self) ? 1 : 0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) MESSAGE("/proc cannot be mounted here");
  CHECK(WEXITSTATUS(status) != 1);
}

TEST_CASE("a worker's file says who it is, and a thread counts on in it") {
  Storage storage;
  WorkerIdentity identity = this_worker();
  identity.host = "a \"host\"\n";
  {
    WorkerFile file(storage.run, identity, milliseconds(1));
    const std::string before = read_text(storage.run.worker(identity.token));
    const auto sign = parse_worker(before);
    REQUIRE(sign);
    CHECK(sign->identity.token == identity.token);
    CHECK(sign->identity.host == identity.host);
    CHECK(sign->identity.started == identity.started);
    CHECK(sign->interval == milliseconds(1));
    CHECK_FALSE(sign->left);
    const Heartbeat heartbeat(file, milliseconds(1));
    std::string now = before;
    for (int n = 0; n < 5000 && now == before; ++n) {
      ::usleep(1000);
      now = read_text(storage.run.worker(identity.token));
    }
    CHECK(now != before);
    CHECK(now.size() == before.size());
  }
  CHECK(parse_worker(read_text(storage.run.worker(identity.token)))->left);
}

TEST_CASE("processes that claim all units at the same time get each once") {
  Storage storage;
  constexpr int kProcesses = 6;
  for (int process = 0; process < kProcesses; ++process) {
    if (::fork() != 0) continue;
    Node node(storage, std::to_string(process));
    int bits = 0;
    for (std::int64_t unit = 0; unit < kUnits; ++unit)
      if (node.claims.claim(unit)) bits |= 1 << unit;
    ::_exit(bits);
  }
  int all = 0;
  for (int process = 0; process < kProcesses; ++process) {
    int status = 0;
    REQUIRE(::wait(&status) > 0);
    REQUIRE(WIFEXITED(status));
    CHECK((all & WEXITSTATUS(status)) == 0);
    all |= WEXITSTATUS(status);
  }
  CHECK(all == (1 << kUnits) - 1);
}

}  // namespace
