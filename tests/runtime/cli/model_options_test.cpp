#include "runtime/cli/model_options.hpp"

#include <doctest/doctest.h>

#include "cpu/topology.hpp"
#include "gpu/device.hpp"

using namespace dodeca;
using namespace dodeca::runtime;

TEST_CASE("options of another program that ask for a card change no parts where there is none") {
  const cpu::Topology two = cpu::synthetic_topology("package:2 numa:1 core:4 pu:1");
  cli::ModelOptions options;
  CHECK(options.numa_choice(two).shares.size() == 2);
  options.device.n_layers = "99";
  CHECK(options.device.wants_card() == gpu::why_no_devices().empty());
  CHECK(options.numa_choice(two).shares.size() == (gpu::why_no_devices().empty() ? 1 : 2));
  options.device.gpu = "0";
  CHECK(options.numa_choice(two).shares.size() == 1);
}

TEST_CASE("rows of a pass: as asked, else by the number of experts, and never more than the batch") {
  ModelConfig many, few;
  many.n_routed_experts = 256;
  few.n_routed_experts = 16;
  cli::ModelOptions options;
  CHECK(options.rows_per_pass(many) == 2048);
  CHECK(options.rows_per_pass(few) == 512);
  options.micro_batch = 300;
  CHECK(options.rows_per_pass(many) == 300);
  CHECK(options.rows_per_pass(few) == 300);
  options.batch = 100;
  CHECK(options.rows_per_pass(many) == 100);
  options.micro_batch = 0;
  CHECK(options.rows_per_pass(few) == 100);
}
