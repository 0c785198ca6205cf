#include "runtime/cli/model_options.hpp"

#include <doctest/doctest.h>

using namespace dodeca::runtime;

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
