#include "runtime/base/printable.hpp"

#include <fmt/core.h>

#include <cstdint>
#include <iterator>

namespace dodeca::runtime {

namespace {

// What a lead byte promises: length, and the range of the second byte, which rules out overlong forms, surrogates and
// everything above U+10FFFF. Length 0: not a lead byte.
struct Lead {
  std::size_t length;
  std::uint8_t second_min, second_max;
};
Lead lead_of(std::uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Prefix utf8_prefix(std::string_view text) {
  if (text.empty()) return {};
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const Lead lead = lead_of(byte(0));
  std::size_t n = lead.length == 0 ? 0 : 1;
  for (; n > 0 && n < lead.length && n < text.size(); ++n)
    if (n == 1 ? byte(n) < lead.second_min || byte(n) > lead.second_max : (byte(n) & 0xC0) != 0x80) break;
  return {n, n > 0 && n == lead.length};
}

std::string printable(std::string_view text, std::size_t max_bytes, std::string_view kept_controls) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    if (i >= max_bytes) return out + "...";
    const auto lead = static_cast<std::uint8_t>(text[i]);
    const Utf8Prefix prefix = utf8_prefix(text.substr(i));
    const std::size_t length = prefix.complete ? prefix.length : 0;
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
