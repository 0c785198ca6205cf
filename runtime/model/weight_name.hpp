// Parts of a weight's name: "blk.12.attn_q.weight" is the attn_q of layer 12.
#pragma once

#include <charconv>
#include <cstdint>
#include <string_view>

namespace dodeca::runtime {

// The number behind the first `prefix`; -1 outside the layers.
inline std::int64_t layer_of(std::string_view name, std::string_view prefix = "blk.") {
  const std::size_t at = name.find(prefix);
  std::int64_t layer = -1;
  if (at != std::string_view::npos) std::from_chars(name.data() + at + prefix.size(), name.data() + name.size(), layer);
  return layer < 0 ? -1 : layer;
}

// What layers have in common: the name without "blk.N." and ".weight".
inline std::string_view kind_of(std::string_view name) {
  constexpr std::string_view kLayers = "blk.", kWeight = ".weight";
  if (name.starts_with(kLayers) && layer_of(name) >= 0) {
    const std::size_t dot = name.find('.', kLayers.size());
    if (dot != std::string_view::npos) name.remove_prefix(dot + 1);
  }
  if (name.ends_with(kWeight)) name.remove_suffix(kWeight.size());
  return name;
}

}  // namespace dodeca::runtime
