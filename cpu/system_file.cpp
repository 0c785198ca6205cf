#include "cpu/system_file.hpp"

#include <charconv>
#include <fstream>
#include <iterator>
#include <sstream>

namespace dodeca::cpu {

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::optional<std::uint64_t> to_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> read_number(const std::string& path) { return to_number(read_text(path)); }

std::optional<std::uint64_t> find_number(const std::string& text, std::string_view key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t digit = line.find_first_not_of(" \t:", key.size());
    if (digit == key.size() || digit == std::string::npos) continue;
    return to_number(std::string_view(line).substr(digit));
  }
  return std::nullopt;
}

}  // namespace dodeca::cpu
