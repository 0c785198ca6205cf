// GGUF v2 and v3: read (single and split files) and write v3. Layout and limits: the GGUF specification of
// ggml-org/ggml, docs/gguf.md. Every length is checked against the bytes that remain before anything is allocated for
// it. Errors: Error{kBadFile} for malformed input, Error{kUnsupported} for tensor types that we do not read, by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "quant/dtype.hpp"
#include "quant/interleaved.hpp"
#include "runtime/base/error.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/file_roles.hpp"
#include "runtime/base/hash.hpp"

namespace dodeca::runtime {

// Arrays keep their element type so that a rewrite is lossless.
template <class T>
struct MetaArray {
  std::vector<T> values;
};
using MetaValue =
    std::variant<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t, std::int32_t, float, bool,
                 std::string, std::uint64_t, std::int64_t, double, MetaArray<std::uint8_t>, MetaArray<std::int8_t>,
                 MetaArray<std::uint16_t>, MetaArray<std::int16_t>, MetaArray<std::uint32_t>, MetaArray<std::int32_t>,
                 MetaArray<float>, MetaArray<bool>, MetaArray<std::string>, MetaArray<std::uint64_t>,
                 MetaArray<std::int64_t>, MetaArray<double>>;

// "u32", "string", "array of f32" ...
std::string_view meta_type_name(const MetaValue& value);
bool is_array(const MetaValue& value);

// Key-value pairs in file order. Readers are lenient about the form of numbers: any integer type whose value fits, 0 and
// 1 for a bool, an array of one element for that element.
class Metadata {
 public:
  const MetaValue* find(std::string_view key) const;
  void set(std::string key, MetaValue value);  // replaces in place or appends
  bool add(std::string key, MetaValue value);  // appends; false when the key is there already
  void erase(std::string_view key);
  const std::vector<std::pair<std::string, MetaValue>>& entries() const { return entries_; }

  // nullopt when absent; Error{kBadFile} naming key, wanted type and found type when of another kind or out of range.
  std::optional<std::int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;  // float or integer
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> string(std::string_view key) const;
  std::optional<std::vector<std::int64_t>> integers(std::string_view key) const;  // an array of any integer type
  std::optional<std::vector<double>> numbers(std::string_view key) const;
  // Zero-copy view of a string array; null when absent.
  const std::vector<std::string>* strings(std::string_view key) const;

 private:
  std::vector<std::pair<std::string, MetaValue>> entries_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

// Applies llama.cpp's --override-kv KEY=TYPE:VALUE,... (TYPE int, float, bool, str). An assignment with commas in its
// value stands in double quotes, where "" is a quote. Throws Error{kBadRequest}.
void override_kv(Metadata& metadata, std::string_view assignments);

struct GgufTensor {
  std::string name;
  quant::DType dtype = quant::DType::kF32;  // meaningless when !known
  std::vector<std::int64_t> dims;           // 1..4 entries, dims[0] contiguous
  int file = 0;                             // which shard
  std::uint64_t offset = 0;                 // from the start of that shard
  std::uint64_t bytes = 0;                  // when !known: the room up to the next tensor, padding included
  std::uint32_t type_id = 0;                // as in the file
  bool known = true;                        // false only under GgufUse::kInspect: a type that quant does not have
  const quant::InterleavedType* interleaved = nullptr;  // how the rows lie in the file; read() puts them apart
  std::string type_name() const;  // "Q2_K", "IQ4_K_R4"; for unknown types the owner's name or "type 77"
  std::int64_t n_elements() const;
  std::int64_t n_rows() const;  // n_elements / dims[0]
};

// What a GGUF is opened for. kWeights refuses tensors of unknown type by name. kInspect (also right for whoever wants
// metadata or the vocabulary only) keeps them as entries that cannot be read; all else that is malformed is refused all
// the same.
enum class GgufUse { kWeights, kInspect };

class GgufFile {
 public:
  // path: a GGUF, or the first shard of a split one; siblings are derived from its name.
  static GgufFile open(const std::filesystem::path& path, GgufUse use = GgufUse::kWeights);

  const Metadata& metadata() const { return metadata_; }
  Metadata& metadata() { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find(std::string_view name) const;
  // False, and nothing is changed, when another tensor has the name.
  bool rename(std::size_t tensor, std::string name);
  // Bytes [offset, offset + dst.size()) of the tensor's plain rows.
  void read(const GgufTensor& tensor, std::uint64_t offset, std::span<std::byte> dst) const;
  std::uint64_t file_bytes() const;  // all shards
  std::uint32_t version() const { return version_; }
  std::uint64_t alignment() const { return alignment_; }
  const std::vector<InputFile>& files() const { return files_; }

 private:
  void read_interleaved(const GgufTensor& tensor, std::uint64_t offset, std::span<std::byte> dst) const;

  std::vector<InputFile> files_;
  Metadata metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::uint32_t version_ = 0;
  std::uint64_t alignment_ = 32;
};

// True when the file begins with the GGUF magic.
bool is_gguf(const std::filesystem::path& path);

// Bounds of one file of a split GGUF; 0: none. A tensor is never cut.
struct SplitLimits {
  std::uint64_t max_bytes = 0;  // of a whole file, header included
  std::size_t max_tensors = 0;
  bool any() const { return max_bytes > 0 || max_tensors > 0; }
};

// Writes a GGUF v3 in two steps: the header with every tensor's type and dims, then the data in the same order, in
// pieces of any size. Writes under temporary names beside the target, syncs, renames in finish(); a destroyed
// unfinished writer removes the temporary files. Errors carry the path and, for a full disk, need and have.
//
// With limits the file is split as llama.cpp splits: OUT.gguf becomes OUT-00001-of-0000N.gguf and its siblings (also
// where one file is enough), the first with all metadata. All have their final names or, at the end, none: the first,
// by which readers find the others, goes before any of an older set is replaced and comes last.
class GgufWriter {
 public:
  struct TensorSpec {
    std::string name;
    quant::DType dtype;
    std::vector<std::int64_t> dims;
  };
  struct File {
    std::filesystem::path path;
    std::uint64_t bytes = 0;
    std::size_t n_tensors = 0;
  };
  // With an identity (of whatever the data depend on), a run that was killed goes on: the data are kept in
  // FILE.partial, and PATH.partial.log notes each tensor that is safely there with its checksum. Where a log says that
  // the same work was begun (same headers, same identity), finished tensors are read back and checked, and
  // finished_tensors() tells how many need not be appended again, provided that they would be made from the same as then
  // (finished_sources()). Unfinished files stay when the writer is destroyed.
  // Where the log is another work's: Error{kBadRequest} with the bytes that are there. With `restart` whatever is
  // unfinished is discarded. Error{kIo} when another process is writing.
  GgufWriter(std::filesystem::path path, const Metadata& metadata, const std::vector<TensorSpec>& tensors,
             std::optional<std::string_view> identity = std::nullopt, SplitLimits limits = {}, bool restart = false);
  ~GgufWriter();
  GgufWriter(const GgufWriter&) = delete;
  GgufWriter& operator=(const GgufWriter&) = delete;

  // What a writer that can go on touches at PATH: the result and whatever is unfinished beside it. Files of a split one
  // are declared against other outputs only; their names depend on the sizes, and files_of() tells them.
  static void declare(FileRoles& files, const std::filesystem::path& path, const std::string& role,
                      const SplitLimits& limits);
  // The log of what is unfinished at PATH.
  static std::filesystem::path log_of(const std::filesystem::path& path, const SplitLimits& limits);
  // What such a writer would make. Error{kBadRequest} for what no file can hold and for limits that a tensor exceeds.
  static std::vector<File> files_of(const std::filesystem::path& path, const Metadata& metadata,
                                    const std::vector<TensorSpec>& tensors, SplitLimits limits = {});

  const std::vector<File>& files() const;
  std::uint64_t total_bytes() const;                           // of all finished files
  std::size_t finished_tensors() const;                        // there already
  const std::vector<std::uint64_t>& finished_sources() const;  // of each of those: what append() got as `source`
  std::uint64_t discarded_bytes() const;                       // of unfinished files that this one replaces
  const std::vector<std::uint64_t>& checksums() const;  // base/hash.hpp, of each whole tensor's data without padding
  // The next bytes of the current tensor; pads by itself. `source` sums what they were made from.
  void append(std::span<const std::byte> data, const PlacedSum& source = {});
  void finish();  // throws when tensor data is missing

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dodeca::runtime
