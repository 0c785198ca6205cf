#include <cmath>

#include "runtime/predict/machine_file.hpp"
#include "tests/fuzz/target.hpp"

namespace dodeca::tests {

void fuzz_machine(std::string_view bytes) {
  if (bytes.find("dodeca_card") != std::string_view::npos) {
    const runtime::predict::CardSpec card = runtime::predict::parse_card(bytes, "fuzz", {});
    require(card.device().free_bytes <= card.device().memory_bytes, "a card's memory");
    return;
  }
  const runtime::predict::MachineSpec machine = runtime::predict::parse_machine(bytes, "fuzz", {});
  for (const int n : {1, 2, machine.n_cores()}) {
    const double read = machine.read_bandwidth(n), barrier = machine.barrier_seconds(n);
    require(std::isfinite(read) && read > 0, "a bandwidth");
    require(std::isfinite(barrier) && barrier >= 0, "a barrier");
  }
  require(std::ssize(machine.machine().nodes) == machine.n_nodes(), "memory nodes");
  for (const auto& [type, rates] : machine.rates.types)
    require(*machine.rates.ns_per_weight(type, 64, machine.clock_ghz.value) > 0, "a rate");
}

std::vector<std::string> fuzz_machine_seeds() {
  const std::string attention = R"({"load_us":39,"attend_us":348,"make_us":352,"prompt_us":453})",
                    figure = R"({"value":2,"measured":"here"})";
  std::string machine = R"({"dodeca_machine":1,"name":"m","title":"a machine","isa":"avx2")";
  for (const char* key : {"sockets", "nodes_per_socket", "complexes", "cores_per_complex", "clock_ghz", "channels",
                          "complex_gb_s", "core_gb_s", "socket_link_gb_s", "near_ns", "far_ns", "memory_gib"})
    machine += std::string(",\"") + key + "\":" + figure;
  machine += R"(,"mt_per_s":{"value":4800,"vendor":"its maker"},"read_share":{"value":0.8,"assumed":"as others"})"
             R"(,"rates":{"dodeca_rates":1,"name":"r","clock_ghz":3.5,"source":{"measured":"here"},"types":{"Q2_K":{)"
             R"("one_row":111,"eight_rows":158,"many_rows":175}},"attention":{"words":)" +
             attention + R"(,"bytes":)" + attention + "}}";
  const std::string teams = R"(,"teams":[{"threads":1,"read_gb_s":30,"barrier_us":0},)"
                            R"({"threads":4,"read_gb_s":80,"barrier_us":1.5}])";
  std::string card = R"({"dodeca_card":1,"name":"c","title":"a card")";
  for (const char* key :
       {"memory_gib", "multiprocessors", "gb_per_s", "f16_tflops", "link_gb_s", "round_trip_us", "launch_us"})
    card += std::string(",\"") + key + "\":" + figure;
  for (const char* key : {"read_share", "compute_share", "link_share"})
    card += std::string(",\"") + key + R"(":{"value":0.5,"assumed":"half"})";
  return {machine + "}", machine + teams + "}", card + "}"};
}

}  // namespace dodeca::tests
