// The files of a GGUF that is being written: which are open, what of them is safely there, and how they get their names.
#include <algorithm>
#include <chrono>

#include "runtime/base/folder.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/load/gguf_layout.hpp"
#include "runtime/load/write_log.hpp"

namespace dodeca::runtime {

namespace {

constexpr std::size_t kPieceBytes = std::size_t{4} << 20;  // of a file that is checked

// Whether [at, at + bytes) of the file has this checksum.
bool has_checksum(const InputFile& file, std::uint64_t at, std::uint64_t bytes, std::uint64_t expected) {
  std::vector<std::byte> piece(std::min<std::uint64_t>(kPieceBytes, bytes));
  Checksum checksum;
  for (std::uint64_t done = 0; done < bytes; done += piece.size()) {
    const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), bytes - done));
    file.read(at + done, part);
    checksum.add(part);
  }
  return checksum.value() == expected;
}

// Unfinished files of works that had the same target: OUT.gguf.partial and OUT-ddddd-of-ddddd.gguf.partial.
std::vector<std::filesystem::path> unfinished_files(const std::filesystem::path& path) {
  namespace fs = std::filesystem;
  const std::string single = OutputFile::partial_name(path.filename()).string();
  const std::string name = path.filename().string();
  const std::string prefix = name.ends_with(".gguf") ? name.substr(0, name.size() - 5) : name;
  std::vector<fs::path> found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder_of(path), none)) {
    std::string other = entry.path().filename().string();
    const bool same_work = other == single || [&] {
      if (!other.starts_with(prefix)) return false;
      std::string tail = other.substr(prefix.size());
      for (char& c : tail)
        if (c >= '0' && c <= '9') c = 'd';
      return tail == "-ddddd-of-ddddd.gguf.partial";
    }();
    if (same_work && entry.is_regular_file(none)) found.push_back(entry.path());
  }
  return found;
}

}  // namespace

struct GgufWriter::Impl {
  std::filesystem::path path;
  OutputFile::Links links = OutputFile::Links::kFollow;  // names of split files are not the user's
  GgufLayout layout;
  std::vector<File> files;
  std::vector<std::unique_ptr<OutputFile>> out;  // of each shard; null: it has its final name already
  std::size_t shard = 0;                         // that receives bytes
  std::uint64_t done = 0;                        // bytes of the current tensor
  Checksum checksum;                             // of those
  PlacedSum source;                              // of what they were made from
  std::vector<std::uint64_t> checksums;          // of the tensors before it
  // Of a work that can be continued:
  std::optional<WriteLog> log;
  std::vector<std::uint64_t> kept_sources;       // of the tensors that were there already
  std::uint64_t discarded = 0;                   // bytes of another work
  std::vector<WrittenTensor> unlogged;           // of the current shard, written since the last sync
  std::chrono::steady_clock::time_point synced;  // long ago at first

  struct Found {
    std::vector<WrittenTensor> tensors;  // the first ones, intact
    bool named = false;                  // all are, and some files have their final names
  };
  Found find(std::vector<WrittenTensor> logged) const;
  void discard_unfinished();
  void refuse_unfinished(std::size_t n_tensors) const;
  void open_continued(std::string_view identity, bool restart);
  void end_tensor();
  void note();
};

// The first tensors of the log whose data are there with the checksums that it says. A work of which every tensor is
// noted may have been killed while its files got their names: those that have them count too.
GgufWriter::Impl::Found GgufWriter::Impl::find(std::vector<WrittenTensor> logged) const {
  const bool all_noted = logged.size() == layout.tensors.size();
  Found found;
  if (logged.empty()) return found;
  std::size_t n = 0, n_unnamed = logged.size();  // up to the first file that has its final name
  std::error_code none;
  for (const GgufLayout::Shard& planned : layout.shards) {
    std::filesystem::path at_path = OutputFile::partial_name(planned.file.path);
    if (all_noted && !std::filesystem::exists(at_path, none)) {
      at_path = planned.file.path;
      n_unnamed = std::min(n_unnamed, planned.begin);
      found.named = true;
    }
    if (n != planned.begin || n == logged.size() || !std::filesystem::exists(at_path, none)) break;
    const InputFile file(at_path);
    std::uint64_t at = planned.header.size();
    if (file.size() < at) break;
    std::string header(planned.header.size(), '\0');
    file.read(0, std::as_writable_bytes(std::span(header)));
    if (header != planned.header) break;
    for (; n < logged.size() && n < planned.end; ++n) {
      const std::uint64_t bytes = layout.tensors[n].bytes, end = at + bytes + padding_of(bytes, layout.alignment);
      if (end != logged[n].end || end > file.size() || !has_checksum(file, at, bytes, logged[n].checksum)) break;
      at = end;
    }
  }
  if (n < layout.tensors.size()) {  // a file that lost its temporary name cannot be gone on with
    n = std::min(n, n_unnamed);
    found.named = false;
  }
  logged.resize(n);
  found.tensors = std::move(logged);
  return found;
}

void GgufWriter::Impl::discard_unfinished() {
  for (const std::filesystem::path& found : unfinished_files(path)) {
    std::error_code none;
    const std::uintmax_t size = std::filesystem::file_size(found, none);
    if (!none) discarded += size;
    std::filesystem::remove(found, none);
  }
}

// Hours of another work may be in them.
void GgufWriter::Impl::refuse_unfinished(std::size_t n_tensors) const {
  std::uint64_t bytes = 0;
  std::error_code none;
  for (const std::filesystem::path& found : unfinished_files(path)) {
    const std::uintmax_t size = std::filesystem::file_size(found, none);
    if (!none) bytes += size;
  }
  if (bytes == 0) return;
  throw Error(ErrorKind::kBadRequest,
              fmt::format("a run with other inputs or options left {} bytes with {} finished tensors of {}: its own "
                          "command resumes with them",
                          bytes, n_tensors, path.string()))
      .with(Remedy::kBeginAnew);
}

void GgufWriter::Impl::open_continued(std::string_view identity, bool restart) {
  Checksum of_headers;
  for (const GgufLayout::Shard& planned : layout.shards) of_headers.add(planned.header);
  of_headers.add(identity);
  const std::string name = fmt::format("{:016x}", of_headers.value());
  const std::filesystem::path log_path = OutputFile::partial_name(path) += ".log";
  log.emplace(log_path);
  std::optional<LoggedWork> logged = read_write_log(log_path);
  if (logged && logged->identity != name && !logged->tensors.empty() && !restart)
    refuse_unfinished(logged->tensors.size());
  if (!logged || logged->identity != name || restart) {
    discard_unfinished();
    logged.emplace();
  }
  const Found found = find(std::move(logged->tensors));
  const std::size_t kept = found.tensors.size();
  for (const WrittenTensor& tensor : found.tensors) {
    checksums.push_back(tensor.checksum);
    kept_sources.push_back(tensor.source);
  }
  for (const GgufLayout::Shard& planned : layout.shards) {
    std::error_code none;
    if (found.named && !std::filesystem::exists(OutputFile::partial_name(planned.file.path), none)) {
      out.push_back(nullptr);
      continue;
    }
    const std::size_t last = std::min(kept, planned.end);
    const std::uint64_t keep = last > planned.begin ? found.tensors[last - 1].end : 0;
    out.push_back(
        std::make_unique<OutputFile>(planned.file.path, planned.file.bytes, OutputFile::Continued{keep}, links));
    if (keep == 0) out.back()->append(planned.header.data(), planned.header.size());
  }
  log->begin(name, found.tensors);
}

// Syncing costs a wait for the disk: at most once a second, and whatever is lost then is made again. A file that is
// complete is synced at once, as only the current one is later.
void GgufWriter::Impl::note() {
  unlogged.push_back({out[shard]->written(), checksums.back(), source.value()});
  const auto now = std::chrono::steady_clock::now();
  if (checksums.size() != layout.shards[shard].end && now - synced < std::chrono::seconds(1)) return;
  out[shard]->sync();
  log->add(unlogged);
  unlogged.clear();
  synced = now;
}

void GgufWriter::Impl::end_tensor() {
  out[shard]->append(std::vector<std::byte>(padding_of(done, layout.alignment)));
  checksums.push_back(checksum.value());
  checksum = Checksum();
  done = 0;
  if (log) note();
  source = PlacedSum();
}

GgufWriter::GgufWriter(std::filesystem::path path, const Metadata& metadata, const std::vector<TensorSpec>& tensors,
                       std::optional<std::string_view> identity, SplitLimits limits, bool restart)
    : impl_(std::make_unique<Impl>()) {
  if (limits.any()) impl_->links = OutputFile::Links::kReplace;
  impl_->path = limits.any() ? std::move(path) : behind_links(path);
  impl_->layout = lay_out_gguf(impl_->path, metadata, tensors, limits);
  for (const GgufLayout::Shard& planned : impl_->layout.shards) impl_->files.push_back(planned.file);
  if (identity) {
    impl_->open_continued(*identity, restart);
    return;
  }
  for (const GgufLayout::Shard& planned : impl_->layout.shards) {
    impl_->out.push_back(std::make_unique<OutputFile>(planned.file.path, planned.file.bytes, impl_->links));
    impl_->out.back()->append(planned.header.data(), planned.header.size());
  }
}

GgufWriter::~GgufWriter() = default;

std::filesystem::path GgufWriter::log_of(const std::filesystem::path& path, const SplitLimits& limits) {
  return OutputFile::partial_name(limits.any() ? path : behind_links(path)) += ".log";
}

void GgufWriter::declare(FileRoles& files, const std::filesystem::path& path, const std::string& role,
                         const SplitLimits& limits) {
  files.writes(OutputFile::partial_name(limits.any() ? path : behind_links(path)),
               fmt::format("the unfinished {}", role));
  files.writes(log_of(path, limits), fmt::format("the log of the unfinished {}", role));
  const std::string name = path.filename().string();
  const auto stem = path.parent_path() / (name.ends_with(".gguf") ? name.substr(0, name.size() - 5) : name);
  files.writes_numbered(stem, "-#-of-#.gguf.partial", fmt::format("an unfinished file of {}", role));
  if (limits.any())
    files.writes_numbered(stem, "-#-of-#.gguf", role, FileRoles::Against::kOutputs);
  else
    files.writes(path, role);
}

std::vector<GgufWriter::File> GgufWriter::files_of(const std::filesystem::path& path, const Metadata& metadata,
                                                   const std::vector<TensorSpec>& tensors, SplitLimits limits) {
  std::vector<File> files;
  for (GgufLayout::Shard& planned : lay_out_gguf(path, metadata, tensors, limits).shards)
    files.push_back(std::move(planned.file));
  return files;
}

const std::vector<GgufWriter::File>& GgufWriter::files() const { return impl_->files; }

std::uint64_t GgufWriter::total_bytes() const {
  std::uint64_t total = 0;
  for (const File& file : impl_->files) total += file.bytes;
  return total;
}

std::size_t GgufWriter::finished_tensors() const { return impl_->kept_sources.size(); }
const std::vector<std::uint64_t>& GgufWriter::finished_sources() const { return impl_->kept_sources; }
std::uint64_t GgufWriter::discarded_bytes() const { return impl_->discarded; }
const std::vector<std::uint64_t>& GgufWriter::checksums() const { return impl_->checksums; }

void GgufWriter::append(std::span<const std::byte> data, const PlacedSum& source) {
  if (data.empty()) return;
  const std::size_t current = impl_->checksums.size();
  if (current == impl_->layout.tensors.size()) {
    throw Error(ErrorKind::kBadRequest,
                fmt::format("{} bytes more than the tensors of {} hold", data.size(), impl_->path.string()));
  }
  while (current >= impl_->layout.shards[impl_->shard].end) ++impl_->shard;
  const auto& tensor = impl_->layout.tensors[current];
  if (data.size() > tensor.bytes - impl_->done) {
    throw Error(ErrorKind::kBadRequest, fmt::format("{} bytes for tensor {}, which lacks {} only", data.size(),
                                                    printable(tensor.name), tensor.bytes - impl_->done));
  }
  impl_->out[impl_->shard]->append(data);
  impl_->done += data.size();
  impl_->checksum.add(data);
  impl_->source.add(source);
  if (impl_->done == tensor.bytes) impl_->end_tensor();
}

void GgufWriter::finish() {
  if (const std::size_t current = impl_->checksums.size(); current != impl_->layout.tensors.size()) {
    const auto& tensor = impl_->layout.tensors[current];
    throw Error(ErrorKind::kBadRequest,
                fmt::format("tensor {} has {} of {} bytes", printable(tensor.name), impl_->done, tensor.bytes));
  }
  // Everything is on the disk and noted before the first name changes: a run that is killed from here on finds by the
  // log which files have their names. Readers open the first file and look for the others by its name: an older one of
  // that name goes first and the new one comes last, so that whoever can open it finds its own siblings.
  auto& out = impl_->out;
  if (out.size() > 1) {
    for (const auto& file : out)
      if (file) file->sync();
    if (out[0]) remove_file(out[0]->path());
  }
  for (auto file = out.rbegin(); file != out.rend(); ++file)
    if (*file) (*file)->finish();
  if (impl_->log) impl_->log->remove();
}

}  // namespace dodeca::runtime
