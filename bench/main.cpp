#include "bench/cmd_bench.hpp"
#include "bench/membw.hpp"
#include "runtime/cli/command.hpp"

int main(int argc, char** argv) {
  using namespace dodeca;
  static constexpr runtime::cli::Command kCommands[] = {
      {"membw", bench::cmd_membw, "memory read bandwidth per node and thread count"},
  };
  return runtime::cli::program_main("dodeca-bench",
                                    "dodeca-bench measures prompt processing and token generation as llama-bench does, "
                                    "and memory bandwidth.",
                                    kCommands, bench::cmd_bench, argc, argv);
}
