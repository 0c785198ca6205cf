// What `dodeca inspect` knows of a model file: its tensors in groups, and sums over them. Any GGUF and any
// Hugging Face directory, of known architecture or not: groups come from tensor names, counts of experts from metadata.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/load/gguf.hpp"
#include "runtime/load/json.hpp"
#include "runtime/model/weight_role.hpp"

namespace dodeca::runtime::cli {

struct InspectTensor {
  std::string name;
  std::string type;
  std::vector<std::int64_t> dims;  // as the file writes them: GGUF contiguous first, safetensors contiguous last
  std::uint64_t elements = 0;
  std::uint64_t bytes = 0;
  int file = 0;
  std::uint64_t offset = 0;
  bool is_scale = false;  // counted in bytes, not as weights: FP8 block scales
};

// What decides groups and reads; -1 where the file does not say.
struct InspectShape {
  bool gguf = true;            // the naming of tensors
  bool is_model = true;        // false for imatrix files, adapters, ...: nothing is said about generation
  std::int64_t n_layers = -1;  // without MTP layers
  std::int64_t n_experts = -1, n_experts_used = -1;
  std::int64_t cache_width = -1;  // values per cached token, all layers
};
InspectShape shape_of_gguf(const Metadata& metadata);
InspectShape shape_of_hf(const Json& config);

struct Sum {
  std::uint64_t tensors = 0, elements = 0, bytes = 0;
  double bits_per_weight() const {
    return elements == 0 ? 0.0 : static_cast<double>(bytes) * 8.0 / static_cast<double>(elements);
  }
};

struct InspectReport {
  std::vector<WeightGroup> groups;  // of each tensor
  Sum total;
  std::array<Sum, kWeightGroups> by_group;
  std::vector<std::pair<std::string, Sum>> by_type;  // most bytes first
  // Bytes of weights read for one generated token, batch 1; nullopt when the file is no model or hides its experts'
  // counts.
  std::optional<std::array<std::uint64_t, kWeightGroups>> read_by_group;
  std::optional<std::uint64_t> read_total;
  std::optional<std::uint64_t> cache_bytes_per_position;  // f16
};

WeightGroup group_of(std::string_view tensor_name, const InspectShape& shape);
InspectReport make_report(const std::vector<InspectTensor>& tensors, const InspectShape& shape);
// Tables of types and groups, and the bytes that a generated token reads.
std::string sums_text(const InspectReport& report);

// Everything that the command prints.
std::string inspect_file(const std::string& path, bool as_json, bool full);

}  // namespace dodeca::runtime::cli
