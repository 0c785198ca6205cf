// Which bytes a new GGUF has before its tensors' data, and which tensors go to which file of a split one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/load/gguf.hpp"

namespace dodeca::runtime {

struct GgufLayout {
  struct Tensor {
    std::string name;
    std::uint64_t bytes;  // without padding
  };
  struct Shard {
    GgufWriter::File file;
    std::string header;          // up to and including the padding before the data
    std::size_t begin = 0, end;  // its tensors
  };
  std::uint64_t alignment = 32;
  std::vector<Tensor> tensors;
  std::vector<Shard> shards;
};

// Errors: as GgufWriter::files_of().
GgufLayout lay_out_gguf(const std::filesystem::path& path, const Metadata& metadata,
                        const std::vector<GgufWriter::TensorSpec>& tensors, const SplitLimits& limits);

// Of the tensors' data: general.alignment or 32. Error{kBadRequest} when it is no power of two.
std::uint64_t data_alignment(const Metadata& metadata);
inline std::uint64_t padding_of(std::uint64_t bytes, std::uint64_t alignment) {
  return (alignment - bytes % alignment) % alignment;
}

// "model-00001-of-00005.gguf".
std::string shard_name(std::string_view prefix, std::int64_t number, std::int64_t count);

}  // namespace dodeca::runtime
