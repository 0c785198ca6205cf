#include "runtime/base/printable.hpp"

#include <fmt/core.h>

#include <cstdint>
#include <iterator>

namespace dodeca::runtime {

std::size_t utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                             : (lead & 0xF0) == 0xE0        ? 3
                             : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                            : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (lead == 0xE0 && byte(1) < 0xA0) return 0;  // overlong
  if (lead == 0xED && byte(1) > 0x9F) return 0;  // surrogates
  if (lead == 0xF0 && byte(1) < 0x90) return 0;  // overlong
  if (lead == 0xF4 && byte(1) > 0x8F) return 0;  // above U+10FFFF
  return length;
}

std::string printable(std::string_view text, std::size_t max_bytes, std::string_view kept_controls) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    if (i >= max_bytes) return out + "...";
    const auto lead = static_cast<std::uint8_t>(text[i]);
    const std::size_t length = utf8_length(text.substr(i));
    const bool c0 =
        length == 1 && (lead < 0x20 || lead == 0x7F) && kept_controls.find(text[i]) == std::string_view::npos;
    const bool c1 = length == 2 && lead == 0xC2 && static_cast<std::uint8_t>(text[i + 1]) < 0xA0;
    if (length == 0 || c0 || c1) {
      fmt::format_to(std::back_inserter(out), "\\x{:02X}", lead);
      // The rest of a C1 control's two bytes follows as an escaped continuation byte.
      ++i;
    } else {
      out.append(text, i, length);
      i += length;
    }
  }
  return out;
}

}  // namespace dodeca::runtime
