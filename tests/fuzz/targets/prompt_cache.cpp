// The file's last eight bytes are a checksum of the rest: without setting it right, no mutation would get past it.
#include "runtime/cli/prompt_cache.hpp"

#include "runtime/base/hash.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/support/memory_file.hpp"
#include "tests/support/small_config.hpp"
#include "tests/support/tiny_gguf.hpp"

namespace dodeca::tests {
namespace {

using runtime::exec::KvCache;

constexpr const char* kModel = "a model";

KvCache small_cache() {
  runtime::ModelConfig config = small_mla_config(1);
  return KvCache(config, {.n_positions = 64, .n_sequences = 1});
}

}  // namespace

void fuzz_prompt_cache(std::string_view bytes) {
  static KvCache cache = small_cache();
  constexpr std::size_t kSum = sizeof(std::uint64_t);
  const std::string_view body = bytes.substr(0, bytes.size() - std::min(bytes.size(), kSum));
  const MemoryFile memory(std::string(body) + le(runtime::fnv1a(body)));
  cache.truncate(0, 0);
  try {
    const auto tokens = runtime::cli::load_prompt_cache(memory.path(), kModel, cache, 0);
    require(cache.length(0) == static_cast<std::int64_t>(tokens.size()), "tokens and rows");
  } catch (...) {
    require(cache.length(0) == 0, "something was restored from a file that was refused");
    throw;
  }
}

std::vector<std::string> fuzz_prompt_cache_seeds() {
  KvCache cache = small_cache();
  cache.append(0, 3);
  const std::vector<std::int32_t> tokens = {1, 2, 3};
  runtime::cli::save_prompt_cache(scratch_folder() / "cache", kModel, tokens, cache, 0);
  return {read_bytes(scratch_folder() / "cache")};
}

}  // namespace dodeca::tests
