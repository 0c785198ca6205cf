// What an interrupted batch left: requests, state, results, errors.
#include "runtime/base/error.hpp"
#include "runtime/batch/batch.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/runtime/batch/fake_text.hpp"
#include "tests/runtime/engine/fake_pass.hpp"
#include "tests/support/tiny_gguf.hpp"

namespace dodeca::tests {
namespace {

using runtime::batch::BatchOptions;
using runtime::engine::Engine;

BatchOptions options_of_batch() {
  BatchOptions options;
  options.input = scratch_folder() / "in.jsonl";
  options.output = scratch_folder() / "out.jsonl";
  options.errors = scratch_folder() / "errors.jsonl";
  options.model_name = "fake";
  options.model_identity = "fake 1";
  options.sampling.temperature = 0;
  return options;
}

// Works through the batch, or through its first `steps` steps.
void run(int steps) {
  constexpr std::int64_t kContext = 64;
  BatchOptions options = options_of_batch();
  FakePass pass(Engine::sequences_for(options.n_parallel), options.n_parallel * kContext);
  Engine engine(pass, FakePass::vocabulary(), {options.n_parallel, kContext, 64, 16});
  runtime::batch::Batch batch(options, [](runtime::Level, std::string_view) {});
  try {
    batch.run(engine, fake_text(), [&](const runtime::batch::BatchCounts&) { return --steps != 0; });
    require(batch.finished(), "a batch that ended is not complete");
  } catch (const runtime::Stopped&) {
  }
}

}  // namespace

void fuzz_batch_files(std::string_view bytes) {
  static constexpr const char* kFiles[] = {"in.jsonl", "out.jsonl.state", "out.jsonl", "errors.jsonl"};
  const auto files = split_files(bytes, std::size(kFiles));
  for (std::size_t i = 0; i < std::size(kFiles); ++i) put_file(kFiles[i], i < files.size() ? files[i] : "");
  if (files.size() < 2) std::filesystem::remove(scratch_folder() / kFiles[1]);
  run(20);
}

std::vector<std::string> fuzz_batch_files_seeds() {
  const std::string requests =
      R"({"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"x","max_tokens":2}})"
      "\n"
      R"({"custom_id":"b","method":"POST","url":"/v1/completions","body":{"prompt":"y","max_tokens":3,"n":2}})"
      "\n{broken\n"
      R"({"custom_id":"c","method":"POST","url":"/v1/chat/completions","body":{"messages":[{"role":"user",)"
      R"("content":"z"}],"max_tokens":3,"logprobs":true}})"
      "\n";
  std::vector<std::string> seeds = {requests};
  for (const char* name : {"out.jsonl.state", "out.jsonl", "errors.jsonl"})
    std::filesystem::remove(scratch_folder() / name);
  put_file("in.jsonl", requests);
  for (const int steps : {3, 100}) {  // interrupted, then complete
    run(steps);
    const std::filesystem::path& folder = scratch_folder();
    seeds.push_back(join_files({requests, read_bytes(folder / "out.jsonl.state"), read_bytes(folder / "out.jsonl"),
                                read_bytes(folder / "errors.jsonl")}));
  }
  return seeds;
}

}  // namespace dodeca::tests
