// Energy of a card, from a library that stands in for NVML.
#include "gpu/card_energy.hpp"

#include <doctest/doctest.h>

using dodeca::gpu::CardEnergy;

TEST_CASE("a card's energy since the beginning, and what is missing in a sentence") {
  const CardEnergy card("0000:41:00.0", DODECA_FAKE_NVML);
  CHECK(card.why_not().empty());
  CHECK(card.joules() == doctest::Approx(1.5));
  CHECK(card.joules() == doctest::Approx(3.0));
  const CardEnergy other("0000:01:00.0", DODECA_FAKE_NVML);
  CHECK(other.why_not().find("0000:01:00.0 does not count") != std::string::npos);
  CHECK(other.joules() == 0);
  const CardEnergy none("0000:41:00.0", "libno-such-library.so.1");
  CHECK(none.why_not().find("libno-such-library.so.1 is not there") != std::string::npos);
  CHECK(none.joules() == 0);
  const CardEnergy wrong("0000:41:00.0", "libm.so.6");
  CHECK(wrong.why_not().find("too old") != std::string::npos);
}
