#include "runtime/load/safetensors.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "runtime/base/printable.hpp"
#include "runtime/load/json.hpp"

namespace dodeca::runtime {

namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own reader
// The index of a model of 10^12 parameters has 200,000 to 300,000 entries of about 100 bytes.
constexpr std::uint64_t kMaxIndexBytes = std::uint64_t{64} << 20;
constexpr std::size_t kMaxIndexValues = 600'000;
constexpr std::size_t kMaxListed = 16;

struct DtypeRow {
  std::string_view name;
  std::int64_t bytes;
  std::optional<quant::DType> dtype;  // empty: not one that we read
};

using quant::DType;
constexpr DtypeRow kDtypes[] = {
    {"F32", 4, DType::kF32},         {"F16", 2, DType::kF16},      {"BF16", 2, DType::kBF16},
    {"F8_E4M3", 1, DType::kF8_E4M3}, {"F64", 8, DType::kF64},      {"I8", 1, DType::kI8},
    {"I16", 2, DType::kI16},         {"I32", 4, DType::kI32},      {"I64", 8, DType::kI64},
    {"U8", 1, DType::kI8},  // bytes, for who knows what is in them
    {"U16", 2, std::nullopt},        {"U32", 4, std::nullopt},     {"U64", 8, std::nullopt},
    {"BOOL", 1, std::nullopt},       {"F8_E5M2", 1, std::nullopt}, {"F8_E8M0", 1, std::nullopt},
    {"C64", 8, std::nullopt},
};

std::int64_t non_negative(const Json& value, std::string_view what) {
  if (!value.is_number_unsigned() ||
      value.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    throw Error(ErrorKind::kBadFile, fmt::format("{} should be a whole number from 0 to 2^63-1", what));
  }
  return static_cast<std::int64_t>(value.get<std::uint64_t>());
}

SafeTensor parse_tensor(const std::string& name, const Json& entry, std::uint64_t buffer_bytes) {
  const auto member = [&](const char* key) {
    const auto found = entry.find(key);  // end() too when it is no object
    return found != entry.end() ? &*found : nullptr;
  };
  const Json *dtype = member("dtype"), *shape = member("shape"), *offsets = member("data_offsets");
  if (dtype == nullptr || shape == nullptr || offsets == nullptr || entry.size() != 3 || !dtype->is_string() ||
      !shape->is_array() || !offsets->is_array() || offsets->size() != 2) {
    throw Error(ErrorKind::kBadFile, "an entry should have exactly a dtype, a shape and two data_offsets");
  }
  SafeTensor tensor;
  tensor.name = name;
  tensor.dtype_name = dtype->get<std::string>();
  const auto* row = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                 [&](const DtypeRow& r) { return r.name == tensor.dtype_name; });
  tensor.known = row != std::end(kDtypes) && row->dtype.has_value();
  tensor.dtype = tensor.known ? *row->dtype : DType::kI8;

  std::int64_t n_elements = 1;
  for (const Json& dim : *shape) {
    tensor.shape.push_back(non_negative(dim, "a dimension"));
    if (__builtin_mul_overflow(n_elements, tensor.shape.back(), &n_elements)) {
      throw Error(ErrorKind::kBadFile, "the dimensions overflow");
    }
  }
  const auto begin = static_cast<std::uint64_t>(non_negative((*offsets)[0], "a data offset"));
  const auto end = static_cast<std::uint64_t>(non_negative((*offsets)[1], "a data offset"));
  if (end < begin)
    throw Error(ErrorKind::kBadFile, fmt::format("the data end at {}, before they begin at {}", end, begin));
  if (end > buffer_bytes) {
    throw Error(
        ErrorKind::kBadFile,
        fmt::format("the data end at {} and the file has {} bytes of data: incomplete download?", end, buffer_bytes));
  }
  tensor.offset = begin;
  tensor.bytes = end - begin;
  if (row != std::end(kDtypes)) {
    std::int64_t bytes = 0;
    if (__builtin_mul_overflow(n_elements, row->bytes, &bytes)) throw Error(ErrorKind::kBadFile, "the size overflows");
    if (static_cast<std::uint64_t>(bytes) != tensor.bytes) {
      throw Error(ErrorKind::kBadFile, fmt::format("{} elements of {} are {} bytes and the data have {}", n_elements,
                                                   tensor.dtype_name, bytes, tensor.bytes));
    }
  }
  return tensor;
}

// The format demands that the tensors cover the buffer (of unknown size where only headers are there) exactly, without
// holes and overlaps.
// `begins_at` tells whether another header begins at an offset of the buffer.
void check_coverage(const std::vector<SafeTensor>& tensors, std::optional<std::uint64_t> buffer_bytes,
                    const std::function<bool(std::uint64_t)>& begins_at) {
  std::vector<const SafeTensor*> sorted;
  for (const SafeTensor& tensor : tensors) sorted.push_back(&tensor);
  std::sort(sorted.begin(), sorted.end(), [](const SafeTensor* a, const SafeTensor* b) {
    return a->offset != b->offset ? a->offset < b->offset : a->bytes < b->bytes;
  });
  std::uint64_t end = 0;
  for (const SafeTensor* tensor : sorted) {
    if (tensor->offset != end) {
      throw Error(
          ErrorKind::kBadFile,
          fmt::format("the data of tensor {} begin at {}, {} {}", printable(tensor->name, 128), tensor->offset,
                      tensor->offset < end ? "inside those of another that end at" : "behind a hole from", end));
    }
    end = tensor->offset + tensor->bytes;
  }
  if (buffer_bytes && end != *buffer_bytes && begins_at(end)) {
    throw Error(ErrorKind::kBadFile,
                "another safetensors file follows the last tensor's data: shards that were joined by "
                "hand; they are files of their own, listed in model.safetensors.index.json");
  }
  if (buffer_bytes && end != *buffer_bytes) {
    throw Error(ErrorKind::kBadFile,
                fmt::format("{} bytes behind the last tensor's data belong to none", *buffer_bytes - end));
  }
}

// Shard file -> tensors that the index wants from it, in the order of their first mention.
struct Index {
  std::vector<std::string> files;
  std::map<std::string, std::size_t, std::less<>> tensor_file;
};

Index read_index(const std::filesystem::path& path) {
  const Json json = read_json(path, kMaxIndexBytes, kMaxIndexValues);
  const Json* weight_map = nullptr;
  if (json.is_object() && json.contains("weight_map")) weight_map = &json["weight_map"];
  if (weight_map == nullptr || !weight_map->is_object() || weight_map->empty()) {
    throw Error(ErrorKind::kBadFile, fmt::format("{} has no weight_map", path.string()));
  }
  Index index;
  std::map<std::string, std::size_t> numbers;
  for (const auto& [tensor, file] : weight_map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name == "." || name == ".." ||
        name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
      throw Error(ErrorKind::kBadFile,
                  fmt::format("the weight_map of {} gives tensor {} the file name '{}'; a plain name is wanted",
                              path.string(), printable(tensor, 128), printable(name, 128)));
    }
    const auto [it, is_new] = numbers.emplace(name, index.files.size());
    if (is_new) index.files.push_back(name);
    index.tensor_file.emplace(tensor, it->second);
  }
  return index;
}

}  // namespace

std::vector<SafeTensor> parse_safetensors(const InputFile& file, int file_index, SafetensorsUse use) try {
  std::uint64_t header_bytes = 0;
  if (file.size() < sizeof header_bytes) {
    throw Error(ErrorKind::kBadFile, fmt::format("not a safetensors file: it has {} bytes", file.size()));
  }
  file.read(0, std::as_writable_bytes(std::span(&header_bytes, 1)));
  if (header_bytes > kMaxHeaderBytes) {
    throw Error(ErrorKind::kBadFile,
                fmt::format("the header claims {} bytes; at most {} are allowed", header_bytes, kMaxHeaderBytes));
  }
  if (header_bytes > file.size() - sizeof header_bytes) {
    throw Error(ErrorKind::kBadFile, fmt::format("the header claims {} bytes and the file has {}: incomplete download?",
                                                 header_bytes, file.size()));
  }
  std::string text(header_bytes, '\0');
  file.read(sizeof header_bytes, std::as_writable_bytes(std::span(text)));
  if (text.empty() || text[0] != '{')
    throw Error(ErrorKind::kBadFile, "not a safetensors file: its header does not begin with {");

  const std::uint64_t data_begin = sizeof header_bytes + header_bytes;
  constexpr std::uint64_t kAnyBytes = std::numeric_limits<std::int64_t>::max();
  const std::uint64_t buffer_bytes = use == SafetensorsUse::kHeaders ? kAnyBytes : file.size() - data_begin;
  const Json json = parse_json(text, "the header");
  std::vector<SafeTensor> tensors;
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") {
      const bool strings =
          entry.is_object() && std::all_of(entry.begin(), entry.end(), [](const Json& v) { return v.is_string(); });
      if (!strings) throw Error(ErrorKind::kBadFile, "__metadata__ should map strings to strings");
      continue;
    }
    if (name.empty()) throw Error(ErrorKind::kBadFile, "a tensor without name");
    try {
      tensors.push_back(parse_tensor(name, entry, buffer_bytes));
    } catch (Error& error) {
      throw error.with("tensor", name);
    }
  }
  check_coverage(tensors, use == SafetensorsUse::kHeaders ? std::nullopt : std::optional(buffer_bytes),
                 [&](std::uint64_t offset) {
                   char begin[sizeof header_bytes + 1] = {};  // another length, then the brace
                   if (buffer_bytes - offset < sizeof begin) return false;
                   file.read(data_begin + offset, std::as_writable_bytes(std::span(begin)));
                   return begin[sizeof header_bytes] == '{' && begin[sizeof header_bytes - 1] == 0;
                 });
  for (SafeTensor& tensor : tensors) {
    tensor.file = file_index;
    tensor.offset += data_begin;
  }
  return tensors;
} catch (Error& error) {
  throw error.with("file", file.path().string());
}

SafetensorsDir SafetensorsDir::open(const std::filesystem::path& directory, SafetensorsUse use) {
  namespace fs = std::filesystem;
  SafetensorsDir out;
  std::error_code ignored;
  if (!fs::is_directory(directory, ignored)) {
    throw Error(ErrorKind::kIo, fmt::format("{} is not a directory", directory.string()));
  }
  const auto take = [&out](SafeTensor tensor) {
    out.index_.emplace(tensor.name,
                       out.tensors_.size());  // names are unique: the header and the index refuse duplicates
    out.tensors_.push_back(std::move(tensor));
  };

  const fs::path single = directory / "model.safetensors";
  if (fs::exists(single, ignored)) {
    out.files_.emplace_back(single);
    for (SafeTensor& tensor : parse_safetensors(out.files_[0], 0, use)) take(std::move(tensor));
    return out;
  }
  const fs::path index_path = directory / "model.safetensors.index.json";
  if (!fs::exists(index_path, ignored)) {
    throw Error(ErrorKind::kIo,
                fmt::format("{} has neither model.safetensors nor model.safetensors.index.json", directory.string()));
  }
  const Index index = read_index(index_path);
  std::string missing;
  std::size_t n_missing = 0;
  for (const std::string& name : index.files) {
    if (fs::exists(directory / name, ignored)) continue;
    if (++n_missing <= kMaxListed) missing += (n_missing > 1 ? ", " : "") + printable(name, 128);
    if (n_missing == kMaxListed + 1) missing += ", ...";
  }
  if (n_missing > 0) {
    throw Error(ErrorKind::kBadFile, fmt::format("{} of {} shards are missing in {}: {}", n_missing, index.files.size(),
                                                 directory.string(), missing));
  }
  for (const std::string& name : index.files) {
    const auto number = out.files_.size();
    out.files_.emplace_back(directory / name);
    for (SafeTensor& tensor : parse_safetensors(out.files_.back(), static_cast<int>(number), use)) {
      // The index decides: what it does not place in this shard (left-overs of an edit) is not part of the model.
      const auto it = index.tensor_file.find(tensor.name);
      if (it != index.tensor_file.end() && it->second == number) take(std::move(tensor));
    }
  }
  for (const auto& [name, number] : index.tensor_file) {
    if (out.find(name) == nullptr) {
      throw Error(ErrorKind::kBadFile, fmt::format("tensor {} is not in {}, where {} puts it", printable(name, 128),
                                                   printable(index.files[number], 128), index_path.string()));
    }
  }
  return out;
}

const SafeTensor* SafetensorsDir::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

void SafetensorsDir::read(const SafeTensor& tensor, std::uint64_t offset, std::span<std::byte> dst) const {
  if (!tensor.known) {
    throw Error(ErrorKind::kUnsupported, fmt::format("tensor {} has the type {}", printable(tensor.name, 128),
                                                     printable(tensor.dtype_name, 64)));
  }
  if (offset > tensor.bytes || dst.size() > tensor.bytes - offset) {
    throw Error(ErrorKind::kBadRequest, fmt::format("{} bytes at {} wanted of tensor {}, which has {}", dst.size(),
                                                    offset, printable(tensor.name, 128), tensor.bytes));
  }
  files_[tensor.file].read(tensor.offset + offset, dst);
}

}  // namespace dodeca::runtime
