// All targets behind libFuzzer's entry point; the environment says which: DODECA_FUZZ_TARGET=gguf. Half of the mutations
// are libFuzzer's, half those of mutator.hpp.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/fuzz/mutator.hpp"
#include "tests/fuzz/target.hpp"

using namespace dodeca::tests;

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

const FuzzTarget& target() {
  static const FuzzTarget& found = []() -> const FuzzTarget& {
    const char* const name = std::getenv("DODECA_FUZZ_TARGET");
    for (const FuzzTarget& target : fuzz_targets())
      if (name != nullptr && target.name == name) return target;
    std::fprintf(stderr, "error: DODECA_FUZZ_TARGET names none of the targets in tests/fuzz/targets.inc\n");
    std::exit(2);
  }();
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  accepts(target(), {reinterpret_cast<const char*>(data), size});
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  if (seed % 2 == 0) return LLVMFuzzerMutate(data, size, max_size);
  static Mutator mutator(target().seeds(), max_size);
  const std::string bytes = mutator.mutated(std::string(reinterpret_cast<const char*>(data), size), seed);
  const std::size_t n = std::min(bytes.size(), max_size);
  std::memcpy(data, bytes.data(), n);
  return n;
}
