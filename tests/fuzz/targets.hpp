// Fuzz entry points: a byte string goes through a parser, which may refuse it with an Error and must do nothing worse.
// Under libFuzzer:  clang++ -std=c++20 -I. -fsanitize=fuzzer,address -Dfuzz_gguf=LLVMFuzzerTestOneInput
//                     tests/fuzz/targets.cpp <sources of quant, runtime/base and runtime/load; recipes: of runtime/text,
//                     runtime/quantize and what they need as well> -lfmt -lpcre2-8
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
int fuzz_gguf(const std::uint8_t* data, std::size_t size);
int fuzz_safetensors(const std::uint8_t* data, std::size_t size);
int fuzz_json(const std::uint8_t* data, std::size_t size);
int fuzz_imatrix(const std::uint8_t* data, std::size_t size);
int fuzz_recipe(const std::uint8_t* data, std::size_t size);
}
