// Texts are UTF-8 here. A file that is plainly something else (UTF-16 as PowerShell writes it, a compressed file) is
// named as that, instead of being read as nonsense.
#pragma once

#include <cstddef>
#include <string_view>

namespace dodeca::runtime {

inline constexpr std::string_view kUtf8Mark = "\xEF\xBB\xBF";  // some editors put it in front; it is no text

// What the bytes at the beginning of a file show, as "UTF-16 (little-endian)" or "compressed (gzip)"; empty when they
// may be UTF-8.
std::string_view foreign_encoding(std::string_view head);
// Throws Error{kBadFile}, with the way out, for a text named `name` that is in a foreign encoding.
void require_utf8(std::string_view text, std::string_view name);
// Bytes of whole UTF-8 characters at the beginning.
std::size_t utf8_length(std::string_view text);

}  // namespace dodeca::runtime
