#include "runtime/load/imatrix.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/base/file.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/load/gguf.hpp"

namespace dodeca::runtime {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";
constexpr std::int64_t kMaxImatrixEntries = 1 << 20, kMaxName = 1 << 16, kMaxImatrixValues = std::int64_t{1} << 31;

Error bad(const std::filesystem::path& path, const std::string& sentence) {
  return Error(ErrorKind::kBadFile, sentence).with("file", path.string());
}

// Sums of squares and counts can only be finite and not negative.
void check_values(const std::filesystem::path& path, std::string_view name, std::span<const float> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] >= 0.0f && std::isfinite(values[i])) continue;
    throw bad(path, fmt::format("{}: value {} is {}, neither zero nor positive", printable(name, 80), i, values[i]));
  }
}

std::vector<float> read_tensor(const GgufFile& file, const GgufTensor& tensor, const std::filesystem::path& path) {
  if (!tensor.known || tensor.dtype != quant::DType::kF32)
    throw bad(path, fmt::format("{} is not F32", printable(tensor.name, 80)));
  std::vector<float> values(tensor.bytes / sizeof(float));
  file.read(tensor, 0, std::as_writable_bytes(std::span(values)));
  check_values(path, tensor.name, values);
  return values;
}

ImportanceMatrix read_gguf(const std::filesystem::path& path) {
  const GgufFile file = GgufFile::open(path);
  const Metadata& metadata = file.metadata();
  if (metadata.string("general.type").value_or("") != "imatrix")
    throw bad(path, "general.type is not imatrix: no importance matrix");
  ImportanceMatrix matrix;
  const auto chunks = metadata.integer("imatrix.chunk_count"), size = metadata.integer("imatrix.chunk_size");
  const std::vector<std::string>* datasets = metadata.strings("imatrix.datasets");
  if (!chunks || !size || datasets == nullptr)
    throw bad(path, "imatrix.datasets, imatrix.chunk_count or imatrix.chunk_size is missing");
  matrix.n_chunks = *chunks;
  matrix.chunk_size = *size;
  matrix.datasets = *datasets;
  for (const GgufTensor& tensor : file.tensors()) {
    if (!tensor.name.ends_with(kSums)) {
      if (!tensor.name.ends_with(kCounts) ||
          file.find(tensor.name.substr(0, tensor.name.size() - kCounts.size()) + std::string(kSums)) == nullptr)
        throw bad(path, fmt::format("{} has no {} beside it", printable(tensor.name, 80), kSums));
      continue;
    }
    const std::string name = tensor.name.substr(0, tensor.name.size() - kSums.size());
    const GgufTensor* counts = file.find(name + std::string(kCounts));
    if (counts == nullptr) throw bad(path, fmt::format("{} has no {} beside it", printable(tensor.name, 80), kCounts));
    ImportanceMatrix::Entry entry{
        .n_in = tensor.dims[0], .sums = read_tensor(file, tensor, path), .counts = read_tensor(file, *counts, path)};
    if (entry.sums.size() != entry.n_in * entry.counts.size())
      throw bad(path, fmt::format("{}: {} sums for {} counts of {} columns", printable(name, 80), entry.sums.size(),
                                  entry.counts.size(), entry.n_in));
    matrix.entries.emplace(name, std::move(entry));
  }
  return matrix;
}

// Reads fields one after another; every length is checked against what remains.
class DatReader {
 public:
  explicit DatReader(const std::filesystem::path& path) : file_(path) {}
  bool at_end() const { return at_ == file_.size(); }
  std::int32_t integer(std::string_view what, std::int64_t min, std::int64_t max) {
    std::int32_t value = 0;
    take(&value, sizeof value, what);
    if (value < min || value > max)
      throw bad(file_.path(), fmt::format("{} is {}, not {} to {}: no importance matrix?", what, value, min, max));
    return value;
  }
  std::string text(std::int64_t n, std::string_view what) {
    std::string value(check(n, 1, what), '\0');
    take(value.data(), value.size(), what);
    return value;
  }
  std::vector<float> floats(std::int64_t n, std::string_view what) {
    std::vector<float> values(check(n, sizeof(float), what));
    take(values.data(), values.size() * sizeof(float), what);
    return values;
  }

 private:
  std::size_t check(std::int64_t n, std::size_t size, std::string_view what) {
    if (static_cast<std::uint64_t>(n) > (file_.size() - at_) / size)
      throw bad(file_.path(), fmt::format("{} of {} at {} leave the file of {} bytes: an incomplete download?", what, n,
                                          at_, file_.size()));
    return static_cast<std::size_t>(n);
  }
  void take(void* to, std::size_t n, std::string_view what) {
    check(static_cast<std::int64_t>(n), 1, what);
    file_.read(at_, {static_cast<std::byte*>(to), n});
    at_ += n;
  }
  InputFile file_;
  std::uint64_t at_ = 0;
};

ImportanceMatrix read_dat(const std::filesystem::path& path) {
  DatReader in(path);
  ImportanceMatrix matrix;
  const std::int32_t n_entries = in.integer("the number of entries", 1, kMaxImatrixEntries);
  for (std::int32_t i = 0; i < n_entries; ++i) {
    const std::string name = in.text(in.integer("a name's length", 1, kMaxName), "a name");
    const std::int32_t n_calls = in.integer("a number of calls", 0, INT32_MAX);
    ImportanceMatrix::Entry entry;
    // How many slices there are, the weight will say: the file has the values of all of them in one row.
    entry.n_in = in.integer("a number of values", 1, kMaxImatrixValues - 1);
    entry.sums = in.floats(entry.n_in, "values");
    entry.counts = {static_cast<float>(std::max(n_calls, 1))};
    check_values(path, name, entry.sums);
    if (!matrix.entries.emplace(name, std::move(entry)).second)
      throw bad(path, fmt::format("{} is there twice", printable(name, 80)));
    matrix.n_chunks = std::max<std::int64_t>(matrix.n_chunks, n_calls);
  }
  if (!in.at_end()) {
    matrix.n_chunks = in.integer("the last chunk", 0, INT32_MAX);
    if (!in.at_end())
      matrix.datasets.push_back(in.text(in.integer("a name's length", 0, kMaxName), "the data set's name"));
  }
  return matrix;
}

}  // namespace

ImportanceMatrix ImportanceMatrix::read(const std::filesystem::path& path) {
  return is_gguf(path) ? read_gguf(path) : read_dat(path);
}

void ImportanceMatrix::write_gguf(const std::filesystem::path& path) const {
  Metadata metadata;
  metadata.set("general.type", std::string("imatrix"));
  metadata.set("imatrix.datasets", MetaArray<std::string>{datasets});
  metadata.set("imatrix.chunk_count", static_cast<std::uint32_t>(n_chunks));
  metadata.set("imatrix.chunk_size", static_cast<std::uint32_t>(chunk_size));
  std::vector<GgufWriter::TensorSpec> specs;
  for (const auto& [name, entry] : entries) {
    const std::int64_t n = entry.n_slices();
    specs.push_back({name + std::string(kSums), quant::DType::kF32,
                     n == 1 ? std::vector<std::int64_t>{entry.n_in} : std::vector<std::int64_t>{entry.n_in, n}});
    specs.push_back({name + std::string(kCounts), quant::DType::kF32,
                     n == 1 ? std::vector<std::int64_t>{1} : std::vector<std::int64_t>{1, n}});
  }
  GgufWriter writer(path, metadata, specs);
  for (const auto& [name, entry] : entries) {
    writer.append(std::as_bytes(std::span(entry.sums)));
    writer.append(std::as_bytes(std::span(entry.counts)));
  }
  writer.finish();
}

void ImportanceMatrix::write_dat(const std::filesystem::path& path) const {
  OutputFile out(path);
  const auto integer = [&](std::int64_t value) {
    const auto v = static_cast<std::int32_t>(value);
    out.append(&v, sizeof v);
  };
  const auto text = [&](std::string_view value) {
    integer(static_cast<std::int64_t>(value.size()));
    out.append(value.data(), value.size());
  };
  integer(static_cast<std::int64_t>(entries.size()));
  const std::int64_t n_calls = std::max<std::int64_t>(n_chunks, 1);
  for (const auto& [name, entry] : entries) {
    text(name);
    integer(n_calls);
    integer(static_cast<std::int64_t>(entry.sums.size()));
    for (std::int64_t slice = 0; slice < entry.n_slices(); ++slice) {
      std::vector<float> values = importance(entry, entry.n_in, slice);
      for (float& v : values) v *= static_cast<float>(n_calls);  // readers divide by it
      out.append(values.data(), values.size() * sizeof(float));
    }
  }
  integer(n_chunks);
  text(datasets.empty() ? "" : datasets.back());
  out.finish();
}

void ImportanceMatrix::add(const ImportanceMatrix& other) {
  for (const auto& [name, theirs] : other.entries) {
    const auto [at, is_new] = entries.try_emplace(name, theirs);
    if (is_new) continue;
    Entry& ours = at->second;
    if (ours.n_in != theirs.n_in || ours.counts.size() != theirs.counts.size())
      throw Error(
          ErrorKind::kBadRequest,
          fmt::format(
              "{} has {} x {} columns in one importance matrix and {} x {} in another; one of them is of another "
              "model, or in the older form",
              name, ours.n_slices(), ours.n_in, theirs.n_slices(), theirs.n_in));
    for (std::size_t i = 0; i < ours.sums.size(); ++i) ours.sums[i] += theirs.sums[i];
    for (std::size_t i = 0; i < ours.counts.size(); ++i) ours.counts[i] += theirs.counts[i];
  }
  for (const std::string& name : other.datasets) {
    if (std::find(datasets.begin(), datasets.end(), name) == datasets.end()) datasets.push_back(name);
  }
  n_chunks += other.n_chunks;
  if (chunk_size == 0) chunk_size = other.chunk_size;
}

const ImportanceMatrix::Entry* ImportanceMatrix::find(std::string_view weight, std::int64_t n_in,
                                                      std::int64_t n_slices) const {
  const auto at = entries.find(weight);
  if (at == entries.end()) return nullptr;
  const Entry& entry = at->second;
  const auto n = static_cast<std::int64_t>(entry.sums.size());
  if (n != n_in && n != n_in * n_slices)
    throw Error(ErrorKind::kBadRequest,
                fmt::format("the importance matrix has {} values for {}, which has {} columns and {} slice{}", n,
                            weight, n_in, n_slices, n_slices == 1 ? "" : "s"));
  return &entry;
}

std::vector<float> ImportanceMatrix::importance(const Entry& entry, std::int64_t n_in, std::int64_t slice) {
  const auto n = static_cast<std::size_t>(n_in);
  const std::size_t n_slices = entry.sums.size() / n;
  const auto count_of = [&](std::size_t s) { return entry.counts[entry.counts.size() == n_slices ? s : 0]; };
  const std::size_t mine = n_slices == 1 ? 0 : static_cast<std::size_t>(slice);
  std::vector<float> mean(n, 1.0f);
  if (const float count = count_of(mine); count > 0) {
    for (std::size_t i = 0; i < n; ++i) mean[i] = entry.sums[mine * n + i] / count;
    return mean;
  }
  std::vector<double> all(n);
  double count = 0;
  for (std::size_t s = 0; s < n_slices; ++s) {
    for (std::size_t i = 0; i < n; ++i) all[i] += entry.sums[s * n + i];
    count += count_of(s);
  }
  if (count > 0) {
    for (std::size_t i = 0; i < n; ++i) mean[i] = static_cast<float>(all[i] / count);
  }
  return mean;
}

std::vector<std::int64_t> ImportanceMatrix::unreached(const Entry& entry) {
  std::vector<std::int64_t> slices;
  for (std::size_t s = 0; s < entry.counts.size(); ++s) {
    if (entry.counts[s] == 0) slices.push_back(static_cast<std::int64_t>(s));
  }
  return slices;
}

}  // namespace dodeca::runtime
