#include <fmt/core.h>

#include "runtime/cli/command.hpp"
#include "runtime/cluster/cluster.hpp"

namespace dodeca::runtime::cli {
namespace {

// Several processes would all do the same, and write the same files.
template <CommandFunction kCommand>
int in_one_process(std::span<const std::string> args) {
  if (cluster::n_started() > 1)
    throw Usage(
        fmt::format("mpirun has started {} processes, and only run and batch work in several", cluster::n_started()));
  return kCommand(args);
}

}  // namespace
}  // namespace dodeca::runtime::cli

int main(int argc, char** argv) {
  using namespace dodeca::runtime::cli;
  static constexpr Command kCommands[] = {
      {"run", cmd_run, "complete a text or chat"},
      {"batch", cmd_batch, "answer a file of requests, resumable"},
      {"quantize", in_one_process<cmd_quantize>, "make a quantized GGUF from a checkpoint or a GGUF"},
      {"imatrix", in_one_process<cmd_imatrix>, "measure on a text which columns of the weights matter"},
      {"ppl", in_one_process<cmd_ppl>, "perplexity and divergence on a text"},
      {"tokenize", in_one_process<cmd_tokenize>, "text to token ids and back"},
      {"inspect", in_one_process<cmd_inspect>, "what is in a model file"},
      {"plan", in_one_process<cmd_plan>, "where a model lies on this machine, what it takes, and why"},
  };
  dodeca::runtime::cluster::watch_over_rank("dodeca");
  return dodeca::runtime::cluster::leave(
      program_main("dodeca", "dodeca runs Mixture-of-Experts language models of the DeepSeek-V3 class from system RAM.",
                   kCommands, nullptr, argc, argv));
}
