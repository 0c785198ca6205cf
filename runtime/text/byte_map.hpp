// The byte-level alphabet of GPT-2 vocabularies: every byte is written as one printable character (space as U+0120,
// ...).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dodeca::runtime {

std::string bytes_to_mapped(std::string_view bytes);
// nullopt when the text has a character outside the alphabet (added tokens such as "<｜User｜>").
std::optional<std::string> mapped_to_bytes(std::string_view mapped);
// The byte that a SentencePiece byte token stands for ("<0x0A>"), or -1.
int byte_of_token(std::string_view text);

}  // namespace dodeca::runtime
