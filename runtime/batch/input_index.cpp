#include "runtime/batch/input_index.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "runtime/base/error.hpp"
#include "runtime/base/hash.hpp"
#include "runtime/base/printable.hpp"
#include "runtime/base/text_encoding.hpp"
#include "runtime/batch/request.hpp"

namespace dodeca::runtime::batch {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxLineBytes = std::size_t{256} << 20;  // a file that is no JSONL may be one line
constexpr std::size_t kShownBytes = 100;                       // of a custom_id in messages

}  // namespace

std::string batch_id_of_custom_id(std::string_view custom_id) {
  return fmt::format("batch_req_{:016x}", fnv1a(fmt::format("custom_id {}", custom_id)));
}

std::string batch_id_of_line(std::int64_t number) {
  return fmt::format("batch_req_{:016x}", fnv1a(fmt::format("line {}", number)));
}

InputIndex::InputIndex(const std::filesystem::path& path) : file_(path) {
  Fnv1a fingerprint;
  std::unordered_map<std::string, std::vector<std::int64_t>> numbers;  // custom_id -> lines
  std::vector<std::string> repeated;                                   // in order of their second line
  std::string line;
  std::uint64_t line_offset = 0;
  std::int64_t number = 0;
  const auto end_line = [&] {
    InputLine entry;
    entry.number = ++number;
    entry.offset = line_offset;
    line_offset += line.size() + 1;
    std::string_view text = line;
    if (number == 1 && text.starts_with(kUtf8Mark)) {
      text.remove_prefix(kUtf8Mark.size());
      entry.offset += kUtf8Mark.size();
    }
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (text.find_first_not_of(" \t\r") != std::string_view::npos) {
      entry.length = text.size();
      entry.hash = fnv1a(text);
      if (std::optional<std::string> custom_id = custom_id_of(text)) {
        entry.id = batch_id_of_custom_id(*custom_id);
        std::vector<std::int64_t>& places = numbers[*custom_id];
        places.push_back(number);
        if (places.size() == 2) repeated.push_back(std::move(*custom_id));
      } else {
        entry.id = batch_id_of_line(number);
      }
      lines_.push_back(std::move(entry));
    }
    line.clear();
  };
  std::string buffer;
  for (std::uint64_t offset = 0; offset < file_.size(); offset += buffer.size()) {
    buffer.resize(std::min<std::uint64_t>(kChunkBytes, file_.size() - offset));
    file_.read(offset, std::as_writable_bytes(std::span(buffer)));
    if (offset == 0) require_utf8(buffer, path.string());
    fingerprint.add(buffer);
    std::string_view chunk = buffer;
    for (std::size_t newline; (newline = chunk.find('\n')) != std::string_view::npos;
         chunk.remove_prefix(newline + 1)) {
      line += chunk.substr(0, newline);
      end_line();
    }
    line += chunk;
    if (line.size() > kMaxLineBytes)
      throw Error(ErrorKind::kBadFile, fmt::format("line {} of {} has more than {} bytes: is it a file of requests?",
                                                   number + 1, path.string(), kMaxLineBytes));
  }
  if (!line.empty()) end_line();
  fingerprint_ = fingerprint.value();
  if (repeated.empty()) return;
  std::string list;
  for (const std::string& custom_id : repeated)
    list += fmt::format("{}'{}' on lines {}", list.empty() ? "" : "; ", printable(custom_id, kShownBytes),
                        fmt::join(numbers[custom_id], ", "));
  throw Error(ErrorKind::kBadRequest,
              fmt::format("{} has {} custom_id{} more than once, nothing was started: {}", path.string(),
                          repeated.size(), repeated.size() == 1 ? "" : "s", list));
}

std::string InputIndex::read(const InputLine& line) const {
  std::string text(line.length, '\0');
  file_.read(line.offset, std::as_writable_bytes(std::span(text)));
  if (fnv1a(text) != line.hash)
    throw Error(ErrorKind::kBadFile, fmt::format("line {} of {} was changed while it was being worked on", line.number,
                                                 file_.path().string()));
  return text;
}

}  // namespace dodeca::runtime::batch
