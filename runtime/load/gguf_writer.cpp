// GGUF v3: the header first, then the tensors' data in the same order.
#include <bit>
#include <chrono>
#include <set>

#include "runtime/base/hash.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/load/gguf.hpp"
#include "runtime/load/gguf_parse.hpp"
#include "runtime/load/write_log.hpp"

namespace dodeca::runtime {

namespace {

constexpr std::uint32_t kVersion = 3;
constexpr std::uint64_t kDefaultAlignment = 32;

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
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(bytes_)); }
  void letters(std::string_view text) { bytes_ += text; }

 private:
  template <class T>
  void put(const T& v, std::size_t) {
    scalar(v);
  }
  template <class T>
  void put(const Array<T>& array, std::size_t index) {
    scalar(kValueType[index - kScalarTypes]);
    scalar(std::uint64_t{array.values.size()});
    for (const auto& element : array.values) scalar(static_cast<const T&>(element));
  }
  std::string bytes_;
};

std::uint64_t padding_of(std::uint64_t bytes, std::uint64_t alignment) {
  return (alignment - bytes % alignment) % alignment;
}

std::uint64_t alignment_of(const Metadata& metadata) {
  const MetaValue* value = metadata.find("general.alignment");
  if (value == nullptr) return kDefaultAlignment;
  const auto* alignment = std::get_if<std::uint32_t>(value);
  if (alignment == nullptr || !std::has_single_bit(*alignment) || *alignment > (1u << 20)) {
    throw Error(ErrorKind::kBadRequest, "general.alignment should be a u32, a power of two up to 2^20");
  }
  return *alignment;
}

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
  const auto bytes = quant::row_bytes(spec.dtype, n_elements);
  if (!bytes) throw bad("its size overflows");
  return *bytes;
}

}  // namespace

struct GgufWriter::Impl {
  struct Planned {
    std::string name;
    std::uint64_t bytes;
  };
  std::vector<Planned> tensors;
  std::uint64_t alignment = kDefaultAlignment;
  std::uint64_t total = 0;
  std::size_t current = 0;  // tensor that receives bytes
  std::uint64_t done = 0;   // bytes of it
  std::optional<OutputFile> out;
  // Of a file that can be continued:
  std::optional<WriteLog> log;
  std::size_t kept = 0;                          // tensors that were there already
  std::uint64_t discarded = 0;                   // bytes of another work
  Checksum checksum;                             // of the current tensor
  std::vector<WrittenTensor> unlogged;           // written since the last sync
  std::chrono::steady_clock::time_point synced;  // long ago at first

  std::span<const std::byte> plan(const Metadata& metadata, const std::vector<TensorSpec>& specs, HeaderBytes& header);
  void open_continued(std::filesystem::path path, std::span<const std::byte> header, std::string_view identity);
  std::vector<WrittenTensor> intact(const std::filesystem::path& partial, std::span<const std::byte> header,
                                    std::vector<WrittenTensor> logged) const;
  void note_tensor();
  void pad() {
    const std::vector<std::byte> zeros(static_cast<std::size_t>(padding_of(out->written(), alignment)));
    out->append(zeros);
  }
};

// Header and offsets.
std::span<const std::byte> GgufWriter::Impl::plan(const Metadata& metadata, const std::vector<TensorSpec>& specs,
                                                  HeaderBytes& header) {
  alignment = alignment_of(metadata);
  header.letters("GGUF");
  header.scalar(kVersion);
  header.scalar(std::uint64_t{specs.size()});
  header.scalar(std::uint64_t{metadata.entries().size()});
  for (const auto& [key, value] : metadata.entries()) {
    if (key.empty() || key.size() > 65535)
      throw Error(ErrorKind::kBadRequest, "a metadata key should have 1 to 65535 bytes");
    header.scalar(key);
    header.value(value);
  }
  std::uint64_t offset = 0;
  std::set<std::string_view> names;
  for (const TensorSpec& spec : specs) {
    const std::uint64_t bytes = checked_bytes(spec);
    if (!names.insert(spec.name).second) {
      throw Error(ErrorKind::kBadRequest, fmt::format("tensor {} would be written twice", printable(spec.name)));
    }
    header.scalar(spec.name);
    header.scalar(static_cast<std::uint32_t>(spec.dims.size()));
    for (const std::int64_t dim : spec.dims) header.scalar(dim);
    header.scalar(static_cast<std::uint32_t>(spec.dtype));
    header.scalar(offset);
    tensors.push_back({spec.name, bytes});
    offset += bytes + padding_of(bytes, alignment);
    if (offset > UINT64_MAX / 4 || bytes > UINT64_MAX / 4)
      throw Error(ErrorKind::kBadRequest, "the tensors' sizes overflow");
  }
  header.pad(alignment);
  total = header.bytes().size() + offset;
  return header.bytes();
}

// The first tensors of the log whose data are in the file with the checksums that it says.
std::vector<WrittenTensor> GgufWriter::Impl::intact(const std::filesystem::path& partial,
                                                    std::span<const std::byte> header,
                                                    std::vector<WrittenTensor> logged) const {
  std::error_code none;
  if (logged.empty() || !std::filesystem::exists(partial, none)) return {};
  const InputFile file(partial);
  std::vector<std::byte> piece(std::min<std::uint64_t>(file.size(), std::uint64_t{4} << 20));
  std::uint64_t at = header.size();
  if (file.size() < at || piece.size() == 0) return {};
  std::vector<std::byte> begin(header.size());
  file.read(0, begin);
  if (!std::equal(begin.begin(), begin.end(), header.begin())) return {};
  std::size_t n = 0;
  for (; n < logged.size() && n < tensors.size(); ++n) {
    const std::uint64_t bytes = tensors[n].bytes, end = at + bytes + padding_of(bytes, alignment);
    if (end != logged[n].end || end > file.size()) break;
    Checksum checksum;
    for (std::uint64_t done = 0; done < bytes; done += piece.size()) {
      const auto part =
          std::span(piece).first(static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), bytes - done)));
      file.read(at + done, part);
      checksum.add(part);
    }
    if (checksum.value() != logged[n].checksum) break;
    at = end;
  }
  logged.resize(n);
  return logged;
}

void GgufWriter::Impl::open_continued(std::filesystem::path path, std::span<const std::byte> header,
                                      std::string_view identity) {
  Checksum of_header;
  of_header.add(header);
  of_header.add(std::as_bytes(std::span(identity)));
  const std::string name = fmt::format("{:016x}", of_header.value());
  const std::filesystem::path partial = OutputFile::partial_name(path);
  std::filesystem::path log_path = partial;
  log_path += ".log";
  const std::optional<std::vector<WrittenTensor>> logged = read_write_log(log_path, name);
  const std::vector<WrittenTensor> there = intact(partial, header, logged.value_or(std::vector<WrittenTensor>()));
  current = kept = there.size();
  std::error_code none;
  if (const std::uintmax_t size = std::filesystem::file_size(partial, none); !logged && !none) discarded = size;
  out.emplace(std::move(path), total, OutputFile::Continued{there.empty() ? 0 : there.back().end});
  log.emplace(log_path, name, there);
  if (there.empty()) out->append(header);
}

// Syncing costs a wait for the disk: at most once a second, and whatever is lost then is made again.
void GgufWriter::Impl::note_tensor() {
  unlogged.push_back({out->written(), checksum.value()});
  checksum = Checksum();
  const auto now = std::chrono::steady_clock::now();
  if (now - synced < std::chrono::seconds(1)) return;
  out->sync();
  log->add(unlogged);
  unlogged.clear();
  synced = now;
}

GgufWriter::GgufWriter(std::filesystem::path path, const Metadata& metadata, std::vector<TensorSpec> tensors)
    : impl_(std::make_unique<Impl>()) {
  HeaderBytes header;
  const std::span<const std::byte> bytes = impl_->plan(metadata, tensors, header);
  impl_->out.emplace(std::move(path), impl_->total);
  impl_->out->append(bytes);
}

GgufWriter::GgufWriter(std::filesystem::path path, const Metadata& metadata, std::vector<TensorSpec> tensors,
                       std::string_view identity)
    : impl_(std::make_unique<Impl>()) {
  HeaderBytes header;
  const std::span<const std::byte> bytes = impl_->plan(metadata, tensors, header);
  impl_->open_continued(std::move(path), bytes, identity);
}

GgufWriter::~GgufWriter() = default;

std::uint64_t GgufWriter::total_bytes() const { return impl_->total; }
std::size_t GgufWriter::finished_tensors() const { return impl_->kept; }
std::uint64_t GgufWriter::discarded_bytes() const { return impl_->discarded; }

void GgufWriter::append(std::span<const std::byte> data) {
  if (data.empty()) return;
  if (impl_->current == impl_->tensors.size()) {
    throw Error(ErrorKind::kBadRequest,
                fmt::format("{} bytes more than the tensors of {} hold", data.size(), impl_->out->path().string()));
  }
  const auto& tensor = impl_->tensors[impl_->current];
  if (data.size() > tensor.bytes - impl_->done) {
    throw Error(ErrorKind::kBadRequest, fmt::format("{} bytes for tensor {}, which lacks {} only", data.size(),
                                                    printable(tensor.name), tensor.bytes - impl_->done));
  }
  impl_->out->append(data);
  impl_->done += data.size();
  if (impl_->log) impl_->checksum.add(data);
  if (impl_->done == tensor.bytes) {
    impl_->pad();
    impl_->done = 0;
    ++impl_->current;
    if (impl_->log) impl_->note_tensor();
  }
}

void GgufWriter::finish() {
  if (impl_->current != impl_->tensors.size()) {
    const auto& tensor = impl_->tensors[impl_->current];
    throw Error(ErrorKind::kBadRequest,
                fmt::format("tensor {} has {} of {} bytes", printable(tensor.name), impl_->done, tensor.bytes));
  }
  impl_->out->finish();
  if (impl_->log) impl_->log->remove();
}

}  // namespace dodeca::runtime
