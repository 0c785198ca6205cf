#include "runtime/load/gguf_layout.hpp"

#include <bit>
#include <set>

#include "runtime/base/printable.hpp"
#include "runtime/load/gguf_parse.hpp"

namespace dodeca::runtime {

namespace {

constexpr std::uint32_t kVersion = 3;
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::size_t kMaxFiles = 65535;  // split.count is u16
constexpr std::size_t kFrameBytes = 24;   // magic, version and the two counts

// GGUF's value type of each scalar alternative of MetaValue, in the variant's order.
constexpr std::uint32_t kValueType[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12};
constexpr std::size_t kScalarTypes = std::size(kValueType);
static_assert(std::variant_size_v<MetaValue> == 2 * kScalarTypes);

class HeaderBytes {
 public:
  template <class T>
  void scalar(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void scalar(bool value) { scalar(static_cast<std::uint8_t>(value)); }
  void scalar(const std::string& text) {
    scalar(std::uint64_t{text.size()});
    bytes_ += text;
  }
  void value(const MetaValue& value) {
    const std::size_t index = value.index();
    scalar(index < kScalarTypes ? kValueType[index] : kGgufArrayType);
    std::visit([&](const auto& v) { put(v, index); }, value);
  }
  void pad(std::uint64_t alignment) { bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment); }
  std::size_t size() const { return bytes_.size(); }
  std::string take() { return std::move(bytes_); }
  void letters(std::string_view text) { bytes_ += text; }

 private:
  template <class T>
  void put(const T& v, std::size_t) {
    scalar(v);
  }
  template <class T>
  void put(const MetaArray<T>& array, std::size_t index) {
    scalar(kValueType[index - kScalarTypes]);
    scalar(std::uint64_t{array.values.size()});
    for (const auto& element : array.values) scalar(static_cast<const T&>(element));
  }
  std::string bytes_;
};

std::uint64_t checked_bytes(const GgufWriter::TensorSpec& spec) {
  const auto bad = [&](std::string_view why) {
    return Error(ErrorKind::kBadRequest,
                 fmt::format("tensor {} cannot be written: {}", printable(spec.name, 128), why));
  };
  if (spec.name.empty() || spec.name.size() > 63 || spec.name.find('\0') != std::string::npos) {
    throw bad("its name should have 1 to 63 bytes, none of them NUL");
  }
  if (spec.dtype >= quant::DType::kInternal) throw bad(fmt::format("GGUF has no type {}", quant::name_of(spec.dtype)));
  if (spec.dims.empty() || spec.dims.size() > 4)
    throw bad(fmt::format("{} dimensions instead of 1 to 4", spec.dims.size()));
  std::int64_t n_elements = 1;
  for (const std::int64_t dim : spec.dims) {
    if (dim <= 0 || __builtin_mul_overflow(n_elements, dim, &n_elements))
      throw bad("its dimensions are not positive or overflow");
  }
  if (!quant::row_bytes(spec.dtype, spec.dims[0])) {
    throw bad(fmt::format("rows of {} are no multiple of a {} block", spec.dims[0], quant::name_of(spec.dtype)));
  }
  const auto bytes = quant::tensor_bytes(spec.dtype, spec.dims[0], n_elements / spec.dims[0]);
  if (!bytes) throw bad("its size overflows");
  return *bytes;
}

void put_metadata(HeaderBytes& header, const Metadata& metadata) {
  for (const auto& [key, value] : metadata.entries()) {
    if (key.empty() || key.size() > 65535)
      throw Error(ErrorKind::kBadRequest, "a metadata key should have 1 to 65535 bytes");
    header.scalar(key);
    header.value(value);
  }
}

void put_tensor(HeaderBytes& header, const GgufWriter::TensorSpec& spec, std::uint64_t offset) {
  header.scalar(spec.name);
  header.scalar(static_cast<std::uint32_t>(spec.dims.size()));
  for (const std::int64_t dim : spec.dims) header.scalar(dim);
  header.scalar(static_cast<std::uint32_t>(spec.dtype));
  header.scalar(offset);
}

// What the file number `no` of a split one says; of others than the first only what reading it needs.
Metadata shard_metadata(const Metadata& whole, std::size_t no, std::size_t count, std::size_t n_tensors) {
  Metadata metadata;
  if (no == 0)
    metadata = whole;
  else if (const MetaValue* alignment = whole.find("general.alignment"))
    metadata.set("general.alignment", *alignment);
  metadata.set("split.no", static_cast<std::uint16_t>(no));
  metadata.set("split.count", static_cast<std::uint16_t>(count));
  metadata.set("split.tensors.count", static_cast<std::int32_t>(n_tensors));
  return metadata;
}

std::size_t bytes_of(const Metadata& metadata) {
  HeaderBytes header;
  put_metadata(header, metadata);
  return header.size();
}

std::size_t bytes_of(const GgufWriter::TensorSpec& spec) {
  HeaderBytes header;
  put_tensor(header, spec, 0);
  return header.size();
}

// Fills one file after the other with as many tensors as its limits allow.
void cut(GgufLayout& layout, const Metadata& metadata, const std::vector<GgufWriter::TensorSpec>& specs,
         const SplitLimits& limits) {
  const std::uint64_t first = bytes_of(shard_metadata(metadata, 0, 0, 0)),
                      others = bytes_of(shard_metadata(metadata, 1, 0, 0));
  std::uint64_t header = kFrameBytes + first, data = 0;
  layout.shards.push_back({.end = 0});
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const std::uint64_t info = bytes_of(specs[i]);
    const std::uint64_t padded = layout.tensors[i].bytes + padding_of(layout.tensors[i].bytes, layout.alignment);
    const auto file_bytes = [&] {
      const std::uint64_t bytes = header + info;
      return bytes + padding_of(bytes, layout.alignment) + data + padded;
    };
    const auto too_large = [&] { return limits.max_bytes > 0 && file_bytes() > limits.max_bytes; };
    const std::size_t n = i - layout.shards.back().begin;
    if (n > 0 && (too_large() || n == limits.max_tensors)) {
      layout.shards.push_back({.begin = i, .end = i});
      header = kFrameBytes + others;
      data = 0;
    }
    if (too_large())
      throw Error(ErrorKind::kBadRequest, fmt::format("files of at most {} bytes cannot hold tensor {}: {} are needed",
                                                      limits.max_bytes, printable(specs[i].name), file_bytes()));
    header += info;
    data += padded;
    layout.shards.back().end = i + 1;
  }
  if (layout.shards.size() > kMaxFiles)
    throw Error(ErrorKind::kBadRequest, fmt::format("{} files would be needed and a split GGUF has at most {}",
                                                    layout.shards.size(), kMaxFiles));
}

void add_header(GgufLayout& layout, GgufLayout::Shard& shard, const Metadata& metadata,
                const std::vector<GgufWriter::TensorSpec>& specs) {
  HeaderBytes header;
  header.letters("GGUF");
  header.scalar(kVersion);
  header.scalar(std::uint64_t{shard.end - shard.begin});
  header.scalar(std::uint64_t{metadata.entries().size()});
  put_metadata(header, metadata);
  std::uint64_t offset = 0;
  for (std::size_t i = shard.begin; i < shard.end; ++i) {
    put_tensor(header, specs[i], offset);
    offset += layout.tensors[i].bytes + padding_of(layout.tensors[i].bytes, layout.alignment);
  }
  header.pad(layout.alignment);
  shard.header = header.take();
  shard.file.bytes = shard.header.size() + offset;
  shard.file.n_tensors = shard.end - shard.begin;
}

}  // namespace

std::uint64_t data_alignment(const Metadata& metadata) {
  const MetaValue* value = metadata.find("general.alignment");
  if (value == nullptr) return kDefaultAlignment;
  const auto* alignment = std::get_if<std::uint32_t>(value);
  if (alignment == nullptr || !std::has_single_bit(*alignment) || *alignment > (1u << 20)) {
    throw Error(ErrorKind::kBadRequest, "general.alignment should be a u32, a power of two up to 2^20");
  }
  return *alignment;
}

std::string shard_name(std::string_view prefix, std::int64_t number, std::int64_t count) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, number, count);
}

GgufLayout lay_out_gguf(const std::filesystem::path& path, const Metadata& metadata,
                        const std::vector<GgufWriter::TensorSpec>& tensors, const SplitLimits& limits) {
  GgufLayout layout;
  layout.alignment = data_alignment(metadata);
  std::uint64_t total = 0;
  std::set<std::string_view> names;
  for (const GgufWriter::TensorSpec& spec : tensors) {
    const std::uint64_t bytes = checked_bytes(spec);
    if (!names.insert(spec.name).second)
      throw Error(ErrorKind::kBadRequest, fmt::format("tensor {} would be written twice", printable(spec.name)));
    layout.tensors.push_back({spec.name, bytes});
    if (bytes > UINT64_MAX / 4 || (total += bytes) > UINT64_MAX / 4)
      throw Error(ErrorKind::kBadRequest, "the tensors' sizes overflow");
  }
  if (!limits.any()) {
    layout.shards.push_back({.file = {.path = path}, .end = tensors.size()});
    add_header(layout, layout.shards[0], metadata, tensors);
    return layout;
  }
  cut(layout, metadata, tensors, limits);
  const std::string name = path.filename().string();
  const std::string prefix = name.ends_with(".gguf") ? name.substr(0, name.size() - 5) : name;
  const std::size_t count = layout.shards.size();
  for (std::size_t no = 0; no < count; ++no) {
    GgufLayout::Shard& shard = layout.shards[no];
    shard.file.path =
        path.parent_path() / shard_name(prefix, static_cast<std::int64_t>(no + 1), static_cast<std::int64_t>(count));
    add_header(layout, shard, shard_metadata(metadata, no, count, tensors.size()), tensors);
  }
  return layout;
}

}  // namespace dodeca::runtime
