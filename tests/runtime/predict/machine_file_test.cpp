#include "runtime/predict/machine_file.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/predict/catalogue.hpp"
#include "tests/support/error_of.hpp"
#include "tests/support/temp_dir.hpp"

using namespace dodeca;
using namespace dodeca::runtime;
using namespace dodeca::runtime::predict;

namespace {

const std::string kLike = R"({"dodeca_machine":1,"name":"mine","title":"my server","like":"epyc-9554")";

MachineSpec parsed(const std::string& text) { return parse_machine(text, "mine.json", catalogue_entries()); }

std::string file_error(const std::string& text) {
  return tests::error_of([&] { parsed(text); });
}
std::string request_error(const std::string& name) {
  return tests::error_of([&] { find_machine(name); });
}

}  // namespace

TEST_CASE("the catalogue has the machines that people ask about, each whole") {
  const std::vector<std::string> names = machine_names();
  for (const char* name : {"epyc-7763", "epyc-9334", "epyc-9354", "epyc-9374f", "epyc-9554", "epyc-9654", "epyc-9684x",
                           "epyc-9175f", "epyc-9355", "epyc-9555", "epyc-9575f", "epyc-9655", "epyc-9755", "epyc-9965",
                           "threadripper-pro-7975wx", "threadripper-pro-7995wx", "xeon-6980p"}) {
    CAPTURE(name);
    CHECK(std::ranges::find(names, name) != names.end());
  }
  for (const std::string& name : names) {
    CAPTURE(name);
    const MachineSpec m = find_machine(name);
    CHECK(m.sockets.value == 1);
    CHECK(m.n_cores() >= 2);
    for (const Figure* figure : {&m.complexes, &m.cores_per_complex, &m.clock_ghz, &m.complex_gb_s}) {
      CHECK(figure->known());
      CHECK(figure->source.size() > 5);
    }
    // Everything that a socket of today can be, and no more.
    CHECK(m.theoretical_gb_s() >= 200);
    CHECK(m.theoretical_gb_s() <= 620);
    CHECK(m.read_bandwidth(m.n_cores()) <= 1e9 * m.theoretical_gb_s());
    CHECK(m.rates.types.size() >= 20);
    CHECK(m.rates.types.contains(quant::DType::kQ2_K));
    CHECK(m.rates.types.contains(quant::DType::kF32));
    // What differs from machine to machine stands in the machine's own file.
    const auto own = nlohmann::json::parse(catalogue_entries().machines(name));
    for (const char* key : {"complexes", "cores_per_complex", "clock_ghz", "complex_gb_s", "tdp_watts"})
      CHECK(own.contains(key));
  }
  CHECK(find_machine("epyc-9554").n_cores() == 64);
  CHECK(find_machine("epyc-9965").n_cores() == 192);
  CHECK(find_machine("epyc-9175f").n_complexes() == 16);
}

TEST_CASE("the catalogue has cards, also as people write their names") {
  for (const char* name : {"rtx-3090", "rtx-4090", "rtx-5090", "rtx-pro-6000", "h100"}) {
    CAPTURE(name);
    const CardSpec card = find_card(name);
    CHECK(card.memory_gib.value >= 24);
    CHECK(card.gb_per_s.value >= 900);
    CHECK(card.device().free_bytes < card.device().memory_bytes);
  }
  CHECK(find_card("rtx4090").name == "rtx-4090");
  CHECK_THROWS_WITH_AS(find_card("rtx-9090"), doctest::Contains("no card is called 'rtx-9090'"), Error);
}

TEST_CASE("what is different about a machine stands behind its name") {
  CHECK(find_machine("2xepyc-9554").n_cores() == 128);
  CHECK(find_machine("2xepyc-9554:nps4").n_nodes() == 8);
  CHECK(find_machine("2xepyc-9554:nps4:ram768").title == "2 x AMD EPYC 9554 (nps4:ram768)");
  CHECK(find_machine("epyc-9554:mt3600").theoretical_gb_s() == doctest::Approx(12 * 3.6 * 8));
  CHECK(find_machine("epyc-9554:ch8").theoretical_gb_s() == doctest::Approx(8 * 4.8 * 8));
  const std::uint64_t ram = std::uint64_t{384} << 30;
  CHECK(find_machine("epyc-9554:ram384").machine().available_bytes < ram);
  CHECK(find_machine("epyc-9554:ram384").machine().available_bytes > ram / 100 * 96);
  CHECK(find_machine("epyc-9554:ram384").machine().nodes.front().memory_bytes == ram);
  CHECK(find_machine("epyc-9554").machine().available_bytes == ~std::uint64_t{0});
  CHECK(find_machine("epyc-9965:read275").read_bandwidth(192) == doctest::Approx(275e9));
  CHECK(request_error("2xepyc-9554:read400").find("':read400' is what one socket reads, and this machine has 2") !=
        std::string::npos);
  // What was measured on the machine as it was says nothing about another one.
  CHECK(find_machine("epyc-zen4-vm2").read_bandwidth(2) == doctest::Approx(60e9).epsilon(0.02));
  for (const char* name : {"epyc-zen4-vm2:mt2400", "2xepyc-zen4-vm2", "epyc-zen4-vm2:ch2"})
    CHECK(!find_machine(name).read_gb_s.known());
  CHECK(find_machine("1xepyc-zen4-vm2:ram64").read_gb_s.known());
  CHECK(request_error("epyc-9999").find("no machine is called 'epyc-9999' (there are epyc-7763, ") !=
        std::string::npos);
  CHECK(request_error("epyc-9554:nps0").find("':nps0' says nothing about a machine; known are npsN") !=
        std::string::npos);
  for (const char* name : {"epyc-9554:mtnan", "epyc-9554:raminf", "epyc-9554:ch1.5", "epyc-9554:ram-1"})
    CHECK(request_error(name).find(
              "says nothing about a machine; known are npsN (memory nodes of a socket, 1 to 16)") != std::string::npos);
  CHECK(request_error("epyc-9554:fast").find("':fast'") != std::string::npos);
  CHECK(request_error("epyc-9554:nps4:").find("':'") != std::string::npos);
  CHECK(request_error("here.json").find("here.json") != std::string::npos);
}

TEST_CASE("which file a machine or a card is read from") {
  CHECK(machine_file("epyc-9554:nps4").empty());
  CHECK(machine_file("mine.json") == "mine.json");
  CHECK(machine_file("2xfolder/mine.json:nps4:ram384") == "folder/mine.json");
  CHECK(card_file("rtx-4090").empty());
  CHECK(card_file("card.json") == "card.json");
}

TEST_CASE("a file replaces the figures of the entry that it is like") {
  const MachineSpec m = parsed(kLike + R"(,"mt_per_s":{"value":4400,"measured":"dmidecode"}})");
  CHECK(m.n_cores() == 64);
  CHECK(m.mt_per_s.value == 4400);
  CHECK(m.mt_per_s.evidence == Evidence::kMeasured);
  CHECK(m.mt_per_s.source == "dmidecode");
  CHECK(m.channels.evidence == Evidence::kPublished);
}

TEST_CASE("what is wrong with a file is said with its name and the key") {
  const std::string figure = R"({"value":3.0,"measured":"here"})";
  const struct {
    std::string text, message;
  } cases[] = {
      {"", "mine.json"},
      {"[]", "mine.json is no machine: it is no JSON object"},
      {"{}", "\"dodeca_machine\" is missing"},
      {R"({"dodeca_machine":2})", "\"dodeca_machine\" is 2, not 1"},
      {R"({"dodeca_machine":"1"})", "\"dodeca_machine\" is no integer"},
      {R"({"dodeca_machine":1})", "\"name\" is missing"},
      {R"({"dodeca_machine":1,"name":3,"title":""})", "\"name\" is no string"},
      {R"({"dodeca_machine":1,"name":"","title":"t"})", "\"name\" has 0 characters"},
      {R"({"dodeca_machine":1,"name":"m","title":"t"})", "\"isa\" is missing"},
      {R"({"dodeca_machine":1,"name":"m","title":"t","isa":"sse9"})", "'sse9' is no instruction-set level"},
      {R"({"dodeca_machine":1,"name":"m","title":"t","isa":"avx2"})", "\"rates\" is missing"},
      {R"({"dodeca_machine":1,"name":"m","title":"t","isa":"avx2","rates":"fast"})",
       "\"rates\": no entry is called 'fast'"},
      {R"({"dodeca_machine":1,"name":"m","title":"t","isa":"avx2","rates":"zen4-avx2"})", "\"sockets\" is missing"},
      {R"({"dodeca_machine":1,"name":"m","title":"t","like":"epyc-1"})", "\"like\": no entry is called 'epyc-1'"},
      {kLike + R"(,"cores":)" + figure + "}", "it has the unknown key \"cores\""},
      {kLike + R"(,"clock_ghz":3.0})", "\"clock_ghz\" is no object"},
      {kLike + R"(,"clock_ghz":{"measured":"here"}})", "\"value\" is missing"},
      {kLike + R"(,"clock_ghz":{"value":"3","measured":"here"}})", "\"clock_ghz\" is no number"},
      {kLike + R"(,"clock_ghz":{"value":3}})", "\"clock_ghz\" does not say where it comes from"},
      {kLike + R"(,"clock_ghz":{"value":3,"heard":"somewhere"}})", "\"clock_ghz\" has the unknown key \"heard\""},
      {kLike + R"(,"clock_ghz":{"value":3,"measured":"a","assumed":"b"}})", "two kinds of evidence"},
      {kLike + R"(,"clock_ghz":{"value":3,"measured":""}})", "\"clock_ghz.measured\" has 0 characters"},
      {kLike + R"(,"clock_ghz":{"value":-3,"measured":"here"}})", "\"clock_ghz\" is -3, not 0.1 to 10"},
      {kLike + R"(,"clock_ghz":{"value":1e400,"measured":"here"}})", "mine.json"},
      {kLike + R"(,"sockets":{"value":1.5,"measured":"here"}})", "\"sockets\" is 1.5, not whole and 1 to 8"},
      {kLike + R"(,"read_share":{"value":1.2,"measured":"here"}})", "\"read_share\" is 1.2"},
      {kLike +
           R"(,"nodes_per_socket":{"value":16,"measured":"a"},"complexes":{"value":1,"measured":"a"},"cores_per_complex":{"value":2,"measured":"a"}})",
       "\"nodes_per_socket\" is 16, more than a socket has cores"},
      {kLike + R"(,"teams":3})", "\"teams\" is no list"},
      {kLike + R"(,"teams":[{"threads":2,"read_gb_s":9,"barrier_us":1},{"threads":2,"read_gb_s":9,"barrier_us":1}]})",
       "2 threads behind 2"},
      {kLike + R"(,"teams":[{"threads":2,"read_gb_s":9}]})", "\"barrier_us\" is missing"},
      {kLike + R"(,"rates":{"dodeca_rates":1}})", "mine.json has no kernels' rates: \"name\" is missing"},
  };
  for (const auto& [text, message] : cases) {
    CAPTURE(text);
    const std::string error = file_error(text);
    CAPTURE(error);
    CHECK(error.find(message) != std::string::npos);
    CHECK(error.find("mine.json") != std::string::npos);
  }
}

TEST_CASE("entries that are like each other in a circle are refused") {
  const std::string text = R"({"dodeca_machine":1,"name":"a","title":"t","like":"a"})";
  const Entries circle = {
      .machines = [&](std::string_view) { return std::string_view(text); }, .cards = {}, .rates = {}};
  CHECK_THROWS_WITH_AS(parse_machine(text, "a.json", circle), doctest::Contains("circle"), Error);
}

TEST_CASE("a machine is read as it was written") {
  MachineSpec m = find_machine("2xepyc-9654:ram768");
  m.teams = {{1, 30, 0}, {192, 640, 3.5}};
  const tests::TempDir dir;
  write_machine(m, dir / "machine.json");
  const MachineSpec read = read_machine(dir / "machine.json", {});  // without any entry: it is whole
  CHECK(read.title == m.title);
  CHECK(read.isa == m.isa);
  CHECK(read.n_cores() == 192);
  CHECK(read.clock_ghz.value == m.clock_ghz.value);
  CHECK(read.clock_ghz.source == m.clock_ghz.source);
  CHECK(read.memory_gib.value == 768);
  CHECK(read.rates.types.size() == m.rates.types.size());
  CHECK(read.rates.words.prompt == m.rates.words.prompt);
  CHECK(read.read_bandwidth(192) == doctest::Approx(640e9));
  CHECK(1e6 * read.barrier_seconds(192) == doctest::Approx(3.5));
  CHECK(read.link_gb_s() == doctest::Approx(120));
  CHECK(read.tdp_watts.value == m.tdp_watts.value);
}

TEST_CASE("a machine says what its links between sockets carry, in one way or the other") {
  CHECK(parsed(kLike + R"(,"socket_link_gb_s":{"value":150,"measured":"mlc"}})").link_gb_s() == 150);
  CHECK(parsed(kLike + R"(,"link_count":{"value":4,"vendor":"the board"}})").link_gb_s() == doctest::Approx(160));
  // A file that is whole, but for them.
  MachineSpec m = find_machine("epyc-9554");
  m.link_share = {};
  const tests::TempDir dir;
  write_machine(m, dir / "machine.json");
  CHECK_THROWS_WITH_AS(read_machine(dir / "machine.json", {}), doctest::Contains("it says nothing about links"), Error);
  m.socket_link_gb_s = {150, Evidence::kMeasured, "mlc"};
  write_machine(m, dir / "machine.json");
  CHECK(read_machine(dir / "machine.json", {}).link_gb_s() == 150);
  // No link carries more than it could.
  for (const std::string& name : machine_names()) {
    CAPTURE(name);
    const MachineSpec spec = find_machine(name);
    if (spec.link_count.known() && !spec.socket_link_gb_s.known())
      CHECK(spec.link_gb_s() < spec.link_count.value * spec.link_gt_s.value * spec.link_lanes.value / 8);
  }
}
