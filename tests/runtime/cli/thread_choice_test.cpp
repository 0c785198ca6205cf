#include "runtime/cli/thread_choice.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/temp_dir.hpp"

using namespace dodeca;
using namespace dodeca::runtime::cli;

namespace {

const runtime::Log kQuiet = [](runtime::Level, std::string_view) {};
const char* const kGenoa = "package:1 numa:1 l3:8(size=32MiB) core:8 pu:2";

// GB/s by threads; what was asked for.
struct FakeMemory {
  std::map<int, double> gb_per_s;
  std::vector<int> asked = {};
  ReadRate rate() {
    return [this](std::int32_t n) {
      asked.push_back(n);
      return gb_per_s.at(n) * 1e9;
    };
  }
};

}  // namespace

TEST_CASE("threads: a few cores are all taken, and nothing is measured") {
  FakeMemory memory;
  const ThreadChoice choice = choose_threads(cpu::synthetic_topology("core:2 pu:2"), memory.rate());
  CHECK(choice.generation == 2);
  CHECK(choice.prompts == 2);
  CHECK(threads_text(choice) == "threads: 2: all 2 cores");
  cpu::Topology granted = cpu::synthetic_topology("core:16 pu:1");
  granted.cpu_quota = 2.1;
  CHECK(threads_text(choose_threads(granted, memory.rate())) ==
        "threads: 2: 2 of 16 cores, as control groups grant no more processor time");
  CHECK(memory.asked.empty());
}

TEST_CASE("threads: all cores unless fewer read clearly faster; prompts take all") {
  const cpu::Topology topology = cpu::synthetic_topology(kGenoa);
  FakeMemory flat{{{64, 385}, {48, 390}, {32, 380}}};
  const ThreadChoice all = choose_threads(topology, flat.rate());
  CHECK(flat.asked == std::vector<int>{64, 48, 32});
  CHECK(all.generation == 64);
  CHECK(all.measured);
  CHECK(threads_text(all) ==
        "threads: 64: all 64 cores; fewer read no faster (385 GB/s with 64, 390 GB/s with 48, 380 GB/s with 32)");
  FakeMemory crowded{{{64, 340}, {48, 385}, {32, 380}}};
  const ThreadChoice fewer = choose_threads(topology, crowded.rate());
  CHECK(fewer.generation == 48);
  CHECK(fewer.prompts == 64);
  CHECK(threads_text(fewer) ==
        "threads: 48 for generation, 64 for prompts: more read more slowly (340 GB/s with 64, 385 GB/s with 48, 380 "
        "GB/s with 32); prompts take all 64 cores");
}

TEST_CASE("threads: the counts that are tried are whole numbers per L3") {
  FakeMemory memory{{{96, 1}, {72, 1}, {48, 1}, {60, 1}}};
  choose_threads(cpu::synthetic_topology("package:1 numa:1 l3:12 core:8 pu:1"), memory.rate());
  CHECK(memory.asked == std::vector<int>{96, 72, 48});
  FakeMemory odd{{{6, 1}, {4, 1}}};
  choose_threads(cpu::synthetic_topology("package:1 numa:1 l3:2 core:3 pu:1"), odd.rate());
  CHECK(odd.asked == std::vector<int>{6, 4});
}

TEST_CASE("threads: a measurement that fails leaves all cores") {
  const ThreadChoice choice = choose_threads(cpu::synthetic_topology(kGenoa),
                                             [](std::int32_t) -> double { throw std::runtime_error("no memory"); });
  CHECK(choice.generation == 64);
  CHECK_FALSE(choice.measured);
  CHECK(choice.reason == "all 64 cores; memory could not be measured: no memory");
}

TEST_CASE("threads: measured once per machine, anew when refreshed") {
  const tests::TempDir dir;
  const std::filesystem::path file = dir / "cache" / "dodeca" / "threads.json";
  const cpu::Topology topology = cpu::synthetic_topology(kGenoa);
  cpu::Topology granted = topology;
  granted.cpu_quota = 32;
  FakeMemory memory{{{64, 340}, {48, 385}, {32, 380}, {24, 300}, {16, 200}}};
  const ThreadChoice first = cached_threads(topology, file, memory.rate(), kQuiet);
  CHECK(first.generation == 48);
  CHECK(memory.asked.size() == 3);
  const ThreadChoice again = cached_threads(topology, file, memory.rate(), kQuiet);
  CHECK(memory.asked.size() == 3);
  CHECK(threads_text(again) == threads_text(first));
  CHECK(cached_threads(granted, file, memory.rate(), kQuiet).generation == 32);  // another machine, the same file
  CHECK(memory.asked.size() == 6);
  CHECK(cached_threads(topology, file, memory.rate(), kQuiet).generation == 48);
  CHECK(memory.asked.size() == 6);
  memory.gb_per_s[64] = 400;
  CHECK(refresh_threads(topology, file, memory.rate(), kQuiet).generation == 64);
  CHECK(cached_threads(topology, file, memory.rate(), kQuiet).generation == 64);
  CHECK(memory.asked.size() == 9);
}

TEST_CASE("threads: a file that is broken, a link, or cannot be written does not matter") {
  const tests::TempDir dir;
  const cpu::Topology topology = cpu::synthetic_topology(kGenoa);
  FakeMemory memory{{{64, 340}, {48, 385}, {32, 380}}};
  for (const std::string text :
       {"", "{", "[]", R"({"dodeca_threads": 2})", R"({"dodeca_threads": 1, "machines": 3})"}) {
    std::ofstream(dir / "broken.json") << text;
    CHECK(cached_threads(topology, dir / "broken.json", memory.rate(), kQuiet).generation == 48);
  }
  std::ofstream(dir / "wrong.json") << R"({"dodeca_threads": 1, "machines": {")" << machine_key(topology)
                                    << R"(": {"generation": 4000, "prompts": 64, "reason": "x"}}})";
  CHECK(cached_threads(topology, dir / "wrong.json", memory.rate(), kQuiet).generation == 48);
  std::ofstream(dir / "other") << "mine";
  std::filesystem::create_symlink(dir / "other", dir / "link.json");
  CHECK(cached_threads(topology, dir / "link.json", memory.rate(), kQuiet).generation == 48);
  std::string kept;
  std::ifstream(dir / "other") >> kept;
  CHECK(kept == "mine");
  CHECK(cached_threads(topology, dir / "other" / "threads.json", memory.rate(), kQuiet).generation == 48);
  CHECK(cached_threads(topology, {}, memory.rate(), kQuiet).generation == 48);
}

TEST_CASE("threads: affinity, quota and shape make another machine") {
  const cpu::Topology topology = cpu::synthetic_topology(kGenoa);
  cpu::Topology fewer = topology, granted = topology;
  fewer.cores.pop_back();
  granted.cpu_quota = 8;
  CHECK(machine_key(topology) != machine_key(fewer));
  CHECK(machine_key(topology) != machine_key(granted));
  CHECK(machine_key(topology) == machine_key(cpu::synthetic_topology(kGenoa)));
}

TEST_CASE("threads: this machine's memory can be read") { CHECK(read_rate_of(cpu::read_topology())(1) > 0); }
