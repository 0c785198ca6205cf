#include "runtime/cli/command.hpp"
#include "runtime/cluster/cluster.hpp"

int main(int argc, char** argv) {
  using namespace dodeca::runtime::cli;
  static constexpr Command kCommands[] = {
      {"run", cmd_run, "complete a text or chat"},
      {"batch", cmd_batch, "answer a file of requests, resumable"},
      {"quantize", cmd_quantize, "make a quantized GGUF from a checkpoint or a GGUF"},
      {"imatrix", cmd_imatrix, "measure on a text which columns of the weights matter"},
      {"ppl", cmd_ppl, "perplexity and divergence on a text"},
      {"tokenize", cmd_tokenize, "text to token ids and back"},
      {"inspect", cmd_inspect, "what is in a model file"},
      {"plan", cmd_plan, "where a model lies on this machine, what it takes, and why"},
  };
  dodeca::runtime::cluster::watch_over_rank("dodeca");
  return dodeca::runtime::cluster::leave(
      program_main("dodeca", "dodeca runs Mixture-of-Experts language models of the DeepSeek-V3 class from system RAM.",
                   kCommands, nullptr, argc, argv));
}
