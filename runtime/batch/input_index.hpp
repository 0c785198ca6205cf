// Where each request of an input file is: found in one pass that keeps no line, so that a file of any size may come.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/base/file.hpp"

namespace dodeca::runtime::batch {

struct InputLine {
  std::int64_t number = 0;  // from 1, empty lines counted
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  // without the line's end
  std::uint64_t hash = 0;    // of these bytes
  std::string id;            // "batch_req_...": from the custom_id, or from the line's number when there is none
};

class InputIndex {
 public:
  // Throws Error{kBadRequest} listing every custom_id that occurs twice, with the lines; Error{kBadFile} for what is
  // no text in UTF-8; Error{kIo} for what cannot be read.
  explicit InputIndex(const std::filesystem::path& path);

  const std::vector<InputLine>& lines() const { return lines_; }  // empty ones left out
  std::uint64_t fingerprint() const { return fingerprint_; }      // of all bytes
  // The text of a line; Error{kBadFile} when the file changed since.
  std::string read(const InputLine& line) const;

 private:
  InputFile file_;
  std::vector<InputLine> lines_;
  std::uint64_t fingerprint_ = 0;
};

std::string batch_id_of_custom_id(std::string_view custom_id);
std::string batch_id_of_line(std::int64_t number);

}  // namespace dodeca::runtime::batch
