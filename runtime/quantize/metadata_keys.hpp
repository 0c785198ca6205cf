// Setting the keys of one architecture, and those that several have in common.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "runtime/load/gguf.hpp"
#include "runtime/model/config.hpp"

namespace dodeca::runtime::quantize {

class MetadataKeys {
 public:
  MetadataKeys(Metadata& metadata, std::string prefix) : metadata_(metadata), prefix_(std::move(prefix)) {}
  void integer(std::string_view key, std::int64_t value) { set(key, static_cast<std::uint32_t>(value)); }
  void real(std::string_view key, double value) { set(key, static_cast<float>(value)); }
  void set(std::string_view key, MetaValue value) { metadata_.set(prefix_ + std::string(key), std::move(value)); }
  void erase(std::string_view key) { metadata_.erase(prefix_ + std::string(key)); }

 private:
  Metadata& metadata_;
  std::string prefix_;
};

inline bool is_grouped(const ModelConfig& c) { return c.layer(0).attention == AttentionKind::kGqa; }
// Layers before the first with experts; Error{kUnsupported} where a dense one comes behind it.
std::int64_t leading_dense_layers(const ModelConfig& c);
void set_experts(MetadataKeys& keys, const ModelConfig& c);

// What models with grouped queries have beside the common keys (metadata_gqa.cpp). Error{kUnsupported} for what their
// architecture has no key for.
void set_grouped(MetadataKeys& keys, const ModelConfig& c);

}  // namespace dodeca::runtime::quantize
