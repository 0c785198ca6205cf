#include "bench/barrier_cost.hpp"
#include "bench/cmd_attention.hpp"
#include "bench/cmd_bench.hpp"
#include "bench/cmd_encoders.hpp"
#include "bench/cmd_gpu.hpp"
#include "bench/cmd_kernels.hpp"
#include "bench/cmd_sample.hpp"
#include "bench/cmd_shares.hpp"
#include "bench/cmd_tune.hpp"
#include "bench/membw.hpp"
#include "runtime/cli/command.hpp"

int main(int argc, char** argv) {
  using namespace dodeca;
  static constexpr runtime::cli::Command kCommands[] = {
      {"membw", bench::cmd_membw, "memory read bandwidth per node and thread count"},
      {"kernels", bench::cmd_kernels, "every matrix product, from cache and from memory"},
      {"attention", bench::cmd_attention, "latent attention over each cache type"},
      {"gpu", bench::cmd_gpu, "a card, its link and its kernels"},
      {"tune", bench::cmd_tune, "choose the fastest matrix products for this processor"},
      {"encoders", bench::cmd_encoders, "error and speed of quantizing rows"},
      {"shares", bench::cmd_shares, "how evenly a token's work is dealt over teams of any size"},
      {"barrier", bench::cmd_barrier, "cost of the barrier between two phases"},
      {"sample", bench::cmd_sample, "time from a step's logits to its tokens"},
  };
  return runtime::cli::program_main("dodeca-bench",
                                    "dodeca-bench measures prompt processing and token generation as llama-bench does, "
                                    "memory bandwidth, kernels and barriers.",
                                    kCommands, bench::cmd_bench, argc, argv);
}
