#include "runtime/load/gguf.hpp"

#include <algorithm>
#include <cstring>

#include "runtime/base/printable.hpp"
#include "runtime/load/gguf_layout.hpp"
#include "runtime/load/gguf_parse.hpp"

namespace dodeca::runtime {

namespace {

constexpr std::int64_t kMaxShards = 65535;  // split.count is u16

// "model-00001-of-00005.gguf" -> prefix "model", number 1, count 5.
struct ShardName {
  std::string prefix;
  int number = 0, count = 0;
};

std::optional<ShardName> parse_shard_name(const std::string& name) {
  constexpr std::string_view kPattern = "-ddddd-of-ddddd.gguf";
  if (name.size() < kPattern.size()) return std::nullopt;
  const std::string_view tail = std::string_view(name).substr(name.size() - kPattern.size());
  int numbers[2] = {0, 0};
  int which = 0;
  for (std::size_t i = 0; i < kPattern.size(); ++i) {
    const bool digit = tail[i] >= '0' && tail[i] <= '9';
    if (kPattern[i] == 'd' ? !digit : tail[i] != kPattern[i]) return std::nullopt;
    if (kPattern[i] == 'o') which = 1;
    if (kPattern[i] == 'd') numbers[which] = numbers[which] * 10 + (tail[i] - '0');
  }
  return ShardName{name.substr(0, name.size() - kPattern.size()), numbers[0], numbers[1]};
}

std::filesystem::path shard_path(const std::filesystem::path& first, const std::string& prefix, std::int64_t number,
                                 std::int64_t count) {
  return first.parent_path() / shard_name(prefix, number, count);
}

std::int64_t require_integer(const Metadata& metadata, std::string_view key) {
  const auto value = metadata.integer(key);
  if (!value) throw Error(ErrorKind::kBadFile, fmt::format("a shard of a split GGUF lacks the key {}", key));
  return *value;
}

// Paths of shards 2..count, all of them there.
std::vector<std::filesystem::path> sibling_paths(const std::filesystem::path& first, std::int64_t count) {
  const auto name = parse_shard_name(first.filename().string());
  if (!name || name->count != count || name->number != 1) {
    throw Error(
        ErrorKind::kBadFile,
        fmt::format("the first of {} shards should be named ...-00001-of-{:05}.gguf, so that the others can be found",
                    count, count));
  }
  std::vector<std::filesystem::path> paths;
  std::string missing;
  std::int64_t n_missing = 0;
  for (std::int64_t number = 2; number <= count; ++number) {
    paths.push_back(shard_path(first, name->prefix, number, count));
    std::error_code ignored;
    if (std::filesystem::exists(paths.back(), ignored)) continue;
    constexpr std::int64_t kMaxListed = 16;
    if (++n_missing <= kMaxListed) missing += (n_missing > 1 ? ", " : "") + paths.back().filename().string();
    if (n_missing == kMaxListed + 1) missing += ", ...";
  }
  if (n_missing > 0)
    throw Error(ErrorKind::kBadFile, fmt::format("{} of {} shards are missing: {}", n_missing, count, missing));
  return paths;
}

}  // namespace

std::int64_t GgufTensor::n_elements() const {
  std::int64_t n = 1;
  for (const std::int64_t dim : dims) n *= dim;
  return n;
}

std::int64_t GgufTensor::n_rows() const { return n_elements() / dims[0]; }

std::string GgufTensor::type_name() const {
  if (interleaved != nullptr) return std::string(interleaved->name);
  if (known) return std::string(quant::name_of(dtype));
  const std::string_view foreign = quant::foreign_type_name(type_id);
  return foreign.empty() ? fmt::format("type {}", type_id) : std::string(foreign);
}

bool is_gguf(const std::filesystem::path& path) {
  try {
    const InputFile file(path);
    char magic[4];
    if (file.size() < sizeof magic) return false;
    file.read(0, std::as_writable_bytes(std::span(magic)));
    return std::memcmp(magic, "GGUF", 4) == 0;
  } catch (const Error&) {
    return false;
  }
}

GgufFile GgufFile::open(const std::filesystem::path& path, GgufUse use) {
  GgufFile out;
  const auto take = [&](std::vector<GgufTensor> tensors) {
    for (GgufTensor& tensor : tensors) {
      if (!out.index_.emplace(tensor.name, out.tensors_.size()).second) {
        throw Error(ErrorKind::kBadFile, fmt::format("tensor {} appears twice", printable(tensor.name)))
            .with("file", out.files_[tensor.file].path().string());
      }
      out.tensors_.push_back(std::move(tensor));
    }
  };

  out.files_.emplace_back(path);
  GgufShard first = parse_gguf(out.files_[0], 0, use);
  out.version_ = first.version;
  out.alignment_ = first.alignment;
  out.metadata_ = std::move(first.metadata);
  take(std::move(first.tensors));

  try {
    const std::int64_t count = out.metadata_.integer("split.count").value_or(0);
    if (count < 0 || count > kMaxShards) throw Error(ErrorKind::kBadFile, fmt::format("split.count is {}", count));
    if (count <= 1) return out;
    if (const std::int64_t no = require_integer(out.metadata_, "split.no"); no != 0) {
      const auto name = parse_shard_name(path.filename().string());
      throw Error(ErrorKind::kBadFile,
                  fmt::format("this is shard {} of {}; open the first one{}", no + 1, count,
                              name ? ": " + shard_path(path, name->prefix, 1, count).string() : std::string()));
    }
    const std::int64_t n_tensors = require_integer(out.metadata_, "split.tensors.count");
    for (const auto& sibling : sibling_paths(path, count)) {
      const auto number = static_cast<int>(out.files_.size());
      out.files_.emplace_back(sibling);
      GgufShard shard = parse_gguf(out.files_.back(), number, use);
      try {
        const std::int64_t shard_count = require_integer(shard.metadata, "split.count");
        const std::int64_t shard_no = require_integer(shard.metadata, "split.no");
        if (shard_no != number || shard_count != count) {
          throw Error(ErrorKind::kBadFile, fmt::format("shard {} of {} says that it is shard {} of {}", number + 1,
                                                       count, shard_no + 1, shard_count));
        }
      } catch (Error& error) {
        throw error.with("shard", sibling.string());
      }
      take(std::move(shard.tensors));
    }
    if (n_tensors != static_cast<std::int64_t>(out.tensors_.size())) {
      throw Error(ErrorKind::kBadFile, fmt::format("the shards hold {} tensors and split.tensors.count says {}",
                                                   out.tensors_.size(), n_tensors));
    }
  } catch (Error& error) {
    throw error.with("file", path.string());
  }
  return out;
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

bool GgufFile::rename(std::size_t tensor, std::string name) {
  if (!index_.emplace(name, tensor).second) return false;
  index_.erase(tensors_[tensor].name);
  tensors_[tensor].name = std::move(name);
  return true;
}

void GgufFile::read(const GgufTensor& tensor, std::uint64_t offset, std::span<std::byte> dst) const {
  if (!tensor.known) {
    throw Error(ErrorKind::kUnsupported,
                fmt::format("tensor {} has type {}", printable(tensor.name), tensor.type_name()));
  }
  if (offset > tensor.bytes || dst.size() > tensor.bytes - offset) {
    throw Error(ErrorKind::kBadRequest, fmt::format("{} bytes at {} wanted of tensor {}, which has {}", dst.size(),
                                                    offset, printable(tensor.name), tensor.bytes));
  }
  if (tensor.interleaved != nullptr) return read_interleaved(tensor, offset, dst);
  files_[tensor.file].read(tensor.offset + offset, dst);
}

// Group by group: callers read whole rows, mostly many.
void GgufFile::read_interleaved(const GgufTensor& tensor, std::uint64_t offset, std::span<std::byte> dst) const {
  const std::uint64_t group_bytes =
      tensor.bytes / static_cast<std::uint64_t>(tensor.n_rows() / tensor.interleaved->rows);
  std::vector<std::byte> group(group_bytes), rows(group_bytes);
  while (!dst.empty()) {
    const std::uint64_t begin = offset / group_bytes * group_bytes;
    const std::size_t n = std::min<std::uint64_t>(begin + group_bytes - offset, dst.size());
    files_[tensor.file].read(tensor.offset + begin, group);
    quant::deinterleave(*tensor.interleaved, group.data(), tensor.dims[0], rows.data());
    std::memcpy(dst.data(), rows.data() + (offset - begin), n);
    offset += n;
    dst = dst.subspan(n);
  }
}

std::uint64_t GgufFile::file_bytes() const {
  std::uint64_t total = 0;
  for (const InputFile& file : files_) total += file.size();
  return total;
}

}  // namespace dodeca::runtime
