// Reading the small text files in which the kernel tells about the machine (/proc, /sys).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dodeca::cpu {

// A file's whole text; empty when it cannot be read.
std::string read_text(const std::string& path);
// The number that a text begins with.
std::optional<std::uint64_t> to_number(std::string_view text);
// The number that a file begins with; "max" and absence give nothing.
std::optional<std::uint64_t> read_number(const std::string& path);
// The number after `key` at the start of a line: "MemAvailable:   123 kB", "inactive_file 4096".
std::optional<std::uint64_t> find_number(const std::string& text, std::string_view key);

}  // namespace dodeca::cpu
