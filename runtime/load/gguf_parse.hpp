// One GGUF file's header: what GgufFile::open() assembles shards from.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/load/gguf.hpp"

namespace dodeca::runtime {

inline constexpr std::uint32_t kGgufArrayType = 9;  // the value type that says "array"

struct GgufShard {
  std::uint32_t version = 0;
  std::uint64_t alignment = 32;
  Metadata metadata;
  std::vector<GgufTensor> tensors;  // offsets from the file's start; data inside the file
};

GgufShard parse_gguf(const InputFile& file, int file_index, GgufUse use);

}  // namespace dodeca::runtime
