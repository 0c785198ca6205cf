#include "runtime/load/gguf_parse.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "runtime/base/printable.hpp"
#include "runtime/load/header_reader.hpp"

namespace dodeca::runtime {

namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read by copying little-endian bytes");

constexpr std::uint64_t kMinFileBytes = 24;                    // magic, version, two counts
constexpr std::uint64_t kMinPairBytes = 14;                    // key of one byte, type, value of one byte
constexpr std::uint64_t kMinTensorBytes = 25;                  // name of one byte, n_dims 0, type, offset
constexpr std::uint64_t kMaxEntries = std::uint64_t{1} << 22;  // keys, tensors; the largest models have 100,000 tensors
constexpr std::uint64_t kMaxReserved = 65536;                  // of what a count promises; the rest when it is there
constexpr std::uint64_t kMaxKeyBytes = 65535;
constexpr std::uint64_t kMaxStringBytes = std::uint64_t{1} << 30;
constexpr std::uint64_t kMaxArrayCount = std::uint64_t{1} << 30;
constexpr std::uint64_t kMaxArrayStrings = std::uint64_t{1} << 22;  // the largest vocabularies have 10^6 merges
constexpr std::uint64_t kMaxNameBytes = 63;
constexpr std::uint64_t kMaxAlignment = std::uint64_t{1} << 20;

std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// What follows the name of a type that is refused.
std::string_view advice_on(std::string_view foreign) {
  if (foreign.find("_KT ") != foreign.npos) return ": trellis codes, which are made for cards, are not supported";
  for (const std::string_view rows : {"_R4 ", "_R8 ", "_R16 "}) {
    const std::size_t at = foreign.find(rows);
    if (at == foreign.npos) continue;
    const quant::TypeInfo* plain = quant::find_type(foreign.substr(0, at));
    return plain != nullptr && plain->decodable ? ": its rows are interleaved; the file with plain rows can be read"
                                                : "";
  }
  return "";
}

class Parser {
 public:
  Parser(const InputFile& file, int file_index, GgufUse use)
      : file_(file), file_index_(file_index), use_(use), in_(file) {}

  GgufShard parse() {
    read_counts();
    for (std::uint64_t i = 0; i < n_pairs_; ++i) read_pair();
    read_alignment();
    shard_.tensors.reserve(std::min(n_tensors_, kMaxReserved));
    for (std::uint64_t i = 0; i < n_tensors_; ++i) read_tensor();
    if (n_tensors_ > 0) check_data();
    refuse_joined(n_tensors_ > 0 ? shard_.tensors.back().offset + shard_.tensors.back().bytes : in_.position());
    return std::move(shard_);
  }

 private:
  template <class... Args>
  Error bad(fmt::format_string<Args...> format, Args&&... args) const {
    return Error(ErrorKind::kBadFile, fmt::format(format, std::forward<Args>(args)...))
        .with("file", file_.path().string());
  }

  void read_counts() {
    if (file_.size() < kMinFileBytes) {
      throw bad("not a GGUF: {} bytes, and the smallest has {}", file_.size(), kMinFileBytes);
    }
    char magic[4];
    in_.bytes(magic, sizeof magic, "the magic");
    if (magic[0] == '<') throw bad("not a GGUF: it begins like a web page, which a failed download leaves behind");
    if (std::string_view(magic, 4) != "GGUF") throw bad("not a GGUF: it does not begin with the letters GGUF");
    shard_.version = in_.scalar<std::uint32_t>("the version");
    if (shard_.version != 0 && (shard_.version & 0xFFFF) == 0)
      throw bad("a GGUF for big-endian machines, which is not supported");
    if (shard_.version != 2 && shard_.version != 3) throw bad("GGUF version {}; only 2 and 3 are read", shard_.version);
    n_tensors_ = in_.scalar<std::uint64_t>("the tensor count");
    n_pairs_ = in_.scalar<std::uint64_t>("the metadata count");
    if (n_tensors_ > std::min(kMaxEntries, in_.remaining() / kMinTensorBytes)) {
      throw bad("{} tensors do not fit in the {} bytes of the file: damaged, or an incomplete download?", n_tensors_,
                file_.size());
    }
    if (n_pairs_ > std::min(kMaxEntries, in_.remaining() / kMinPairBytes)) {
      throw bad("{} metadata keys do not fit in the {} bytes of the file: damaged, or an incomplete download?",
                n_pairs_, file_.size());
    }
  }

  void read_pair() {
    std::string key = in_.string(kMaxKeyBytes, "a metadata key");
    if (key.empty()) throw bad("an empty metadata key ends at byte {}", in_.position());
    const auto type = in_.scalar<std::uint32_t>("a metadata type");
    MetaValue value;
    try {
      value = type == kGgufArrayType ? read_array() : read_value(type);
    } catch (Error& error) {
      throw error.with("key", printable(key, 128));
    }
    if (!shard_.metadata.add(key, std::move(value))) throw bad("metadata key {} appears twice", printable(key, 128));
  }

  bool read_bool() {
    const auto byte = in_.scalar<std::uint8_t>("a bool");
    if (byte > 1) throw bad("a bool at byte {} is {}", in_.position() - 1, byte);
    return byte != 0;
  }

  MetaValue read_value(std::uint32_t type) {
    constexpr std::string_view kWhat = "a metadata value";
    switch (type) {
      case 0:
        return in_.scalar<std::uint8_t>(kWhat);
      case 1:
        return in_.scalar<std::int8_t>(kWhat);
      case 2:
        return in_.scalar<std::uint16_t>(kWhat);
      case 3:
        return in_.scalar<std::int16_t>(kWhat);
      case 4:
        return in_.scalar<std::uint32_t>(kWhat);
      case 5:
        return in_.scalar<std::int32_t>(kWhat);
      case 6:
        return in_.scalar<float>(kWhat);
      case 7:
        return read_bool();
      case 8:
        return in_.string(kMaxStringBytes, "a metadata string");
      case 10:
        return in_.scalar<std::uint64_t>(kWhat);
      case 11:
        return in_.scalar<std::int64_t>(kWhat);
      case 12:
        return in_.scalar<double>(kWhat);
      default:
        throw bad("metadata value of unknown type {} at byte {}", type, in_.position() - 4);
    }
  }

  template <class T>
  MetaValue numbers(std::uint64_t count) {
    MetaArray<T> array;
    array.values.resize(check_count(count, sizeof(T)));
    in_.bytes(array.values.data(), array.values.size() * sizeof(T), "a metadata array");
    return array;
  }

  std::size_t check_count(std::uint64_t count, std::uint64_t min_element_bytes) {
    if (count > kMaxArrayCount)
      throw bad("a metadata array claims {} elements; at most {} are allowed", count, kMaxArrayCount);
    in_.need(count * min_element_bytes, "a metadata array");  // at most 2^30 * 8
    return static_cast<std::size_t>(count);
  }

  MetaValue read_array() {
    const auto type = in_.scalar<std::uint32_t>("an array's element type");
    const auto count = in_.scalar<std::uint64_t>("an array's length");
    switch (type) {
      case 0:
        return numbers<std::uint8_t>(count);
      case 1:
        return numbers<std::int8_t>(count);
      case 2:
        return numbers<std::uint16_t>(count);
      case 3:
        return numbers<std::int16_t>(count);
      case 4:
        return numbers<std::uint32_t>(count);
      case 5:
        return numbers<std::int32_t>(count);
      case 6:
        return numbers<float>(count);
      case 7: {
        MetaArray<bool> array;
        array.values.resize(check_count(count, 1));
        for (std::size_t i = 0; i < array.values.size(); ++i) array.values[i] = read_bool();
        return array;
      }
      case 8: {
        MetaArray<std::string> array;
        array.values.reserve(std::min<std::size_t>(check_count(count, 8), kMaxReserved));
        if (count > kMaxArrayStrings)
          throw bad("a metadata array claims {} strings; at most {} are allowed", count, kMaxArrayStrings);
        for (std::uint64_t i = 0; i < count; ++i)
          array.values.push_back(in_.string(kMaxStringBytes, "a string of an array"));
        return array;
      }
      case kGgufArrayType:
        throw bad("an array of arrays at byte {}", in_.position() - 12);
      case 10:
        return numbers<std::uint64_t>(count);
      case 11:
        return numbers<std::int64_t>(count);
      case 12:
        return numbers<double>(count);
      default:
        throw bad("array elements of unknown type {} at byte {}", type, in_.position() - 12);
    }
  }

  void read_alignment() {
    const MetaValue* value = shard_.metadata.find("general.alignment");
    if (value == nullptr) return;
    const auto alignment = static_cast<std::uint64_t>(*shard_.metadata.integer("general.alignment"));
    if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
      throw bad("general.alignment is {}; a power of two up to {} is wanted",
                *shard_.metadata.integer("general.alignment"), kMaxAlignment);
    }
    shard_.alignment = alignment;
  }

  void read_tensor() {
    GgufTensor tensor;
    tensor.file = file_index_;
    tensor.name = in_.string(kMaxNameBytes, "a tensor name");
    const std::string name = printable(tensor.name);
    if (tensor.name.empty()) throw bad("a tensor without name at byte {}", in_.position());
    if (tensor.name.find('\0') != std::string::npos) throw bad("tensor name {} has a NUL byte", name);
    const auto n_dims = in_.scalar<std::uint32_t>("a tensor's dimensions");
    if (n_dims > 4) throw bad("tensor {} has {} dimensions; at most 4 are allowed", name, n_dims);
    if (n_dims == 0 && use_ == GgufUse::kWeights) throw bad("tensor {} has no dimensions", name);
    std::int64_t n_elements = 1;
    for (std::uint32_t i = 0; i < n_dims; ++i) {
      const auto dim = in_.scalar<std::int64_t>("a tensor's dimensions");
      if (dim <= 0) throw bad("dimension {} of tensor {} is {}", i, name, dim);
      if (__builtin_mul_overflow(n_elements, dim, &n_elements)) throw bad("the dimensions of tensor {} overflow", name);
      tensor.dims.push_back(dim);
    }
    if (n_dims == 0) tensor.dims.push_back(1);
    tensor.type_id = in_.scalar<std::uint32_t>("a tensor's type");
    tensor.offset = in_.scalar<std::uint64_t>("a tensor's offset");
    set_type(tensor, name, n_elements);
    place(tensor, name);
    shard_.tensors.push_back(std::move(tensor));
  }

  void set_type(GgufTensor& tensor, const std::string& name, std::int64_t n_elements) {
    constexpr auto kInternal = static_cast<std::uint32_t>(quant::DType::kInternal);
    const quant::TypeInfo* info = tensor.type_id < kInternal ? quant::find_type(tensor.type_id) : nullptr;
    tensor.interleaved = quant::find_interleaved(tensor.type_id);
    if (tensor.interleaved != nullptr) info = &quant::type_info(tensor.interleaved->dtype);
    tensor.known = info != nullptr;
    if (info == nullptr) {
      const std::string_view foreign = quant::foreign_type_name(tensor.type_id);
      if (tensor.type_id >= kInternal) throw bad("tensor {} has type id {}, which no GGUF has", name, tensor.type_id);
      if (use_ == GgufUse::kInspect) return;
      if (foreign.empty()) throw bad("tensor {} has the unknown type id {}", name, tensor.type_id);
      throw Error(ErrorKind::kUnsupported,
                  fmt::format("tensor {} has type {} (id {}){}", name, foreign, tensor.type_id, advice_on(foreign)))
          .with("file", file_.path().string());
    }
    tensor.dtype = info->dtype;
    if (tensor.dims[0] % info->block_elements != 0) {
      throw bad("tensor {} has rows of {} elements, no multiple of the {} that a block of {} holds", name,
                tensor.dims[0], info->block_elements, info->name);
    }
    if (tensor.interleaved != nullptr && n_elements / tensor.dims[0] % tensor.interleaved->rows != 0) {
      throw bad("tensor {} has {} rows, no multiple of the {} that {} interleaves", name, n_elements / tensor.dims[0],
                tensor.interleaved->rows, tensor.interleaved->name);
    }
    const auto bytes = quant::tensor_bytes(tensor.dtype, tensor.dims[0], n_elements / tensor.dims[0]);
    if (!bytes) throw bad("the size of tensor {} overflows", name);
    tensor.bytes = *bytes;
  }

  // Tensors follow each other without gaps, each padded to the alignment. Where a type is unknown, so is its size: the
  // next tensor may then begin anywhere behind it.
  void place(GgufTensor& tensor, const std::string& name) {
    const bool loose = !shard_.tensors.empty() && !shard_.tensors.back().known;
    if (tensor.offset % shard_.alignment != 0) {
      throw bad("the data of tensor {} begin at {}, no multiple of the alignment {}", name, tensor.offset,
                shard_.alignment);
    }
    if (loose ? tensor.offset < data_end_ : tensor.offset != data_end_) {
      throw bad("the data of tensor {} begin at {}, expected at {}: gaps and overlaps are not allowed", name,
                tensor.offset, data_end_);
    }
    if (loose) shard_.tensors.back().bytes = tensor.offset - shard_.tensors.back().offset;
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / 2;
    if (tensor.offset > kMax || tensor.bytes > kMax - tensor.offset)
      throw bad("the data of tensor {} end beyond any file", name);
    data_end_ = align_up(tensor.offset + tensor.bytes, shard_.alignment);
  }

  void check_data() {
    const std::uint64_t data_begin = align_up(in_.position(), shard_.alignment);
    for (GgufTensor& tensor : shard_.tensors) tensor.offset += data_begin;
    GgufTensor& last = shard_.tensors.back();  // padding behind it may be missing
    const std::uint64_t expected = last.offset + last.bytes;
    if (expected > file_.size()) {
      const std::string name = file_.path().filename().string();
      const bool piece = name.find(".part") != std::string::npos || name.find("-split-") != std::string::npos;
      throw bad("the file has {} bytes and its tensors need {}: {}", file_.size(), expected,
                piece ? "a piece of a file that was cut; 'cat' joins the pieces" : "incomplete download?");
    }
    if (!last.known) last.bytes = file_.size() - last.offset;
  }

  // Shards are files of their own; put behind each other, all but the first would be lost in silence. Padding behind the
  // data may be missing.
  void refuse_joined(std::uint64_t end) const {
    for (const std::uint64_t at : {end, align_up(end, shard_.alignment)}) {
      char magic[4] = {};
      if (at > file_.size() || file_.size() - at < kMinFileBytes) continue;
      file_.read(at, std::as_writable_bytes(std::span(magic)));
      if (std::string_view(magic, 4) != "GGUF") continue;
      throw bad(
          "another GGUF begins at byte {}, behind the {} tensors of the first: shards that were joined by hand; "
          "keep them as files of their own beside each other, or merge them with llama-gguf-split --merge",
          at, n_tensors_);
    }
  }

  const InputFile& file_;
  const int file_index_;
  const GgufUse use_;
  HeaderReader in_;
  GgufShard shard_;
  std::uint64_t n_tensors_ = 0, n_pairs_ = 0;
  std::uint64_t data_end_ = 0;  // of the tensors so far, padded, from the start of the data section
};

}  // namespace

GgufShard parse_gguf(const InputFile& file, int file_index, GgufUse use) {
  return Parser(file, file_index, use).parse();
}

}  // namespace dodeca::runtime
