// What a file says of the indexer of sparse attention, and what its tensors show: files without the tensors, or with
// them in layers that reuse another's choice, are about.
#pragma once

#include "runtime/load/gguf.hpp"
#include "runtime/model/config.hpp"

namespace dodeca::runtime {

// Set c.indexer and every layer's has_indexer; c.layers and c.rope are there already. `find` may be empty: then the
// keys decide alone. Throw Error{kBadFile} naming the key or the tensor.
void read_indexer_gguf(const Metadata& metadata, const FindMatrix& find, const ConfigOptions& options, ModelConfig& c,
                       const Log& log);
void read_indexer_hf(const Json& config_json, const FindMatrix& find, const ConfigOptions& options, ModelConfig& c,
                     const Log& log);

}  // namespace dodeca::runtime
