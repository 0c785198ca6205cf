#include "runtime/predict/energy.hpp"

#include <doctest/doctest.h>

#include "runtime/predict/catalogue.hpp"
#include "tests/runtime/predict/planned.hpp"

using namespace dodeca::runtime;
using namespace dodeca::runtime::predict;

TEST_CASE("power is that of sockets, of memory in every channel, and of a card") {
  const PowerEstimate one = *power_of(find_machine("epyc-9554"), nullptr);
  CHECK(one.sockets == 360);
  CHECK(one.memory == 12 * 5);
  CHECK(one.card == 0);
  CHECK(one.joules(20) == close_to(21));
  const CardSpec card = find_card("rtx-4090");
  CHECK(power_of(find_machine("2xepyc-9554:ch8"), &card)->sum() == close_to(2 * (360 + 8 * 5) + 450));
}

TEST_CASE("every machine and card of the catalogue says what it draws, and where that comes from") {
  for (const std::string& name : machine_names()) {
    CAPTURE(name);
    const MachineSpec m = find_machine(name);
    CHECK(m.tdp_watts.source.size() > 5);
    CHECK(m.memory_watts.source.size() > 5);
  }
  for (const std::string& name : card_names()) {
    CAPTURE(name);
    CHECK(find_card(name).tdp_watts.value >= 300);
  }
}

TEST_CASE("where a figure is not known there is no estimate") {
  MachineSpec m = find_machine("epyc-9554");
  CardSpec card = find_card("rtx-4090");
  card.tdp_watts = {};
  CHECK(!power_of(m, &card));
  m.memory_watts = {};
  CHECK(!power_of(m, nullptr));
}
