#include "runtime/batch/merge.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>

#include "runtime/base/error.hpp"
#include "runtime/base/output_file.hpp"
#include "runtime/batch/response.hpp"
#include "runtime/batch/units.hpp"

namespace dodeca::runtime::batch {
namespace {

struct FoundLine {
  std::string_view text;  // with its newline
  bool refused = false;
};

std::unordered_map<std::string, FoundLine> lines_by_id(std::string_view text, const std::filesystem::path& path) {
  std::unordered_map<std::string, FoundLine> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, std::min(text.find('\n'), text.size() - 1) + 1);
    text.remove_prefix(line.size());
    OutputLine parsed = parse_output_line(line);
    if (parsed.id.empty() || !lines.emplace(std::move(parsed.id), FoundLine{line, parsed.refused}).second)
      throw Error(ErrorKind::kBadFile, fmt::format("line {} of {} is no result, or of a request that has one: the "
                                                   "file was changed",
                                                   lines.size() + 1, path.string()))
          .with(Remedy::kRemoveResults);
  }
  return lines;
}

}  // namespace

Merged merge_units(const RunFolder& folder, const InputIndex& input, std::int64_t unit_requests,
                   const BatchOptions& options) {
  const bool errors_named = options.errors != default_errors_path(options.output);
  OutputFile results(options.output);
  OutputFile errors(options.errors, 0, errors_named ? OutputFile::Links::kFollow : OutputFile::Links::kReplace);
  folder.list(0);  // is it there? A batch may have no units
  Merged merged;
  merged.counts.total = std::ssize(input.lines());
  for (std::int64_t unit = 0; unit < count_units(merged.counts.total, unit_requests); ++unit) {
    const std::filesystem::path path = folder.done(unit);
    const std::string text = read_lines(path);
    const auto found = lines_by_id(text, path);
    const std::span<const InputLine> wanted = lines_of_unit(input, unit_requests, unit);
    for (const InputLine& line : wanted) {
      const auto place = found.find(line.id);
      if (place == found.end() || found.size() != wanted.size())
        throw Error(ErrorKind::kBadFile, fmt::format("{} has {} lines, not those of its {} requests: the file was "
                                                     "changed",
                                                     path.string(), found.size(), wanted.size()))
            .with(Remedy::kRemoveResults);
      const FoundLine& answer = place->second;
      (answer.refused ? errors : results).append(answer.text.data(), answer.text.size());
      ++(answer.refused ? merged.counts.failed : merged.counts.completed);
    }
  }
  merged.results_bytes = results.written();
  merged.errors_bytes = errors.written();
  results.finish();
  errors.finish();
  return merged;
}

}  // namespace dodeca::runtime::batch
