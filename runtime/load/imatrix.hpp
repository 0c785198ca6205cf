// Importance matrices: for each weight, the mean square of its inputs column by column, which says how much an error in
// a column costs. Read and written in llama.cpp's GGUF form (<weight>.in_sum2 and <weight>.counts) and in the older
// .dat form; routed experts have a row of their own each, attn_k_b and attn_v_b one per head.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dodeca::runtime {

class ImportanceMatrix {
 public:
  struct Entry {
    std::int64_t n_in = 0;      // columns
    std::vector<float> sums;    // [n_slices, n_in] of squares
    std::vector<float> counts;  // [n_slices] rows summed
    std::int64_t n_slices() const { return static_cast<std::int64_t>(counts.size()); }
  };

  // Either form, told by the magic. Throws Error{kBadFile} for what is malformed, with the entry's name.
  static ImportanceMatrix read(const std::filesystem::path& path);

  void write_gguf(const std::filesystem::path& path) const;
  void write_dat(const std::filesystem::path& path) const;
  // Adds the sums, counts and chunks of another. Throws Error{kBadRequest} where an entry has another shape.
  void add(const ImportanceMatrix& other);

  // The entry for a weight of this shape, or null. Throws Error{kBadRequest} when there is one of another shape.
  const Entry* find(std::string_view weight, std::int64_t n_in, std::int64_t n_slices) const;
  // Mean squares [n_in] of one slice of a weight. A slice that nothing reached gets the mean over all rows of the
  // others; where there are none, all 1.
  static std::vector<float> importance(const Entry& entry, std::int64_t n_in, std::int64_t slice);
  // Slices of an entry with counts of its own that no row reached: experts that the text never chose.
  static std::vector<std::int64_t> unreached(const Entry& entry);

  std::map<std::string, Entry, std::less<>> entries;
  std::vector<std::string> datasets;
  std::int64_t n_chunks = 0, chunk_size = 0;  // tokens per chunk
};

}  // namespace dodeca::runtime
