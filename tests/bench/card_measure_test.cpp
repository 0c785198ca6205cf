// A card's figures from what was measured, and what a plan reads of them.
#include "bench/card_measure.hpp"

#include <doctest/doctest.h>

#include "runtime/base/error.hpp"
#include "runtime/predict/machine_file.hpp"
#include "tests/support/temp_dir.hpp"

using namespace dodeca;
using namespace dodeca::bench;
using doctest::Approx;

namespace {

// 1 ms of so many GB/s and 10^12 operations per second.
KernelTime product(quant::DType dtype, std::int32_t n_rows, double gb_per_s, double tera) {
  return {.us = 1000,
          .bytes = static_cast<std::uint64_t>(1e6 * gb_per_s),
          .operations = static_cast<std::uint64_t>(1e9 * tera),
          .n_rows = n_rows,
          .dtype = dtype,
          .multiplies_integers = dtype != quant::DType::kBF16};
}

CardMeasure measured() {
  CardMeasure card;
  card.device({.name = "a card", .multiprocessors = 82, .memory_bytes = std::uint64_t{24} << 30});
  const CopyRate rates[] = {
      {"pinned", "to device", 26e9}, {"registered", "to device", 25e9}, {"registered", "both", 40e9}};
  card.copies(rates);
  card.reading(900e9);
  card.launches({.host_us = 4, .stream_us = 3, .graph_us = 1.5});
  card.mailbox({.turns = 1000, .least_us = 2, .median_us = 5, .p99_us = 9});
  return card;
}

}  // namespace

TEST_CASE("a card's figures are read as they were measured") {
  CardMeasure card = measured();
  CHECK_THROWS_WITH_AS(card.spec(), doctest::Contains("products could not be measured"), runtime::Error);
  card.kernel({.us = 3, .bytes = 1000, .operations = 1000});  // no product
  for (const double gb_per_s : {600.0, 810.0, 1000.0}) card.kernel(product(quant::DType::kQ4_K, 1, gb_per_s, 1));
  for (const double tera : {90.0, 100.0, 300.0}) card.kernel(product(quant::DType::kQ2_K, 512, 10, tera));
  card.kernel(product(quant::DType::kBF16, 1, 899, 1));
  card.kernel(product(quant::DType::kBF16, 512, 10, 60));
  card.kernel(product(quant::DType::kQ2_K, 64, 10, 7));  // neither one row nor many
  const tests::TempDir folder;
  runtime::predict::write_card(card.spec(), folder.path() / "card.json");
  const runtime::predict::CardSpec read = runtime::predict::read_card(folder.path() / "card.json", {});
  CHECK(read.name == "this-card");
  CHECK(read.title == "a card");
  CHECK(read.memory_gib.value == 24);
  CHECK(read.multiprocessors.value == 82);
  CHECK(read.link_bytes_per_s() == Approx(25e9));
  CHECK(read.read_bytes_per_s() == Approx(810e9));
  CHECK(read.f16_macs() == Approx(30e12));
  CHECK(read.weight_macs() == Approx(50e12));
  CHECK(read.round_trip_us.value == 5);
  CHECK(read.launch_us.value == 1.5);
  CHECK(!read.tdp_watts.known());
}

TEST_CASE("copies of registered memory are needed") {
  CardMeasure card;
  const CopyRate pinned[] = {{"pinned", "to device", 26e9}};
  card.copies(pinned);
  CHECK_THROWS_WITH_AS(card.spec(), doctest::Contains("registered memory"), runtime::Error);
}
