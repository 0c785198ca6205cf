#include "runtime/text/utf8.hpp"

#include "runtime/base/printable.hpp"
#include "runtime/text/tokenizer.hpp"

namespace dodeca::runtime {
namespace utf8 {
std::size_t length_at(std::string_view text, std::size_t pos) {
  const Utf8Prefix prefix = utf8_prefix(text.substr(pos));
  return prefix.complete ? prefix.length : 0;
}

std::size_t step_at(std::string_view text, std::size_t pos) {
  const std::size_t n = length_at(text, pos);
  return n == 0 ? 1 : n;
}

char32_t code_point(std::string_view text, std::size_t pos, std::size_t length) {
  static constexpr unsigned char kLeadBits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  char32_t c = static_cast<unsigned char>(text[pos]) & kLeadBits[length];
  for (std::size_t i = 1; i < length; ++i) c = c << 6 | (static_cast<unsigned char>(text[pos + i]) & 0x3F);
  return c;
}

void append(std::string& out, char32_t c) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  }
}

std::string encode(char32_t c) {
  std::string out;
  append(out, c);
  return out;
}

bool is_space(char32_t c, bool python) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000 ||
         (python && c >= 0x1C && c <= 0x1F);
}

}  // namespace utf8

std::string Utf8Stream::take(std::string_view bytes) {
  pending_.append(bytes);
  std::string out;
  std::size_t pos = 0;
  while (pos < pending_.size()) {
    const auto [n, complete] = utf8_prefix(std::string_view(pending_).substr(pos));
    if (complete) {
      out.append(pending_, pos, n);
    } else if (n > 0 && pos + n == pending_.size()) {
      break;  // the beginning of a character whose rest may still come
    } else {
      out += "\xEF\xBF\xBD";
    }
    pos += n == 0 ? 1 : n;
  }
  pending_.erase(0, pos);
  return out;
}

std::string Utf8Stream::flush() {
  std::string out = pending_.empty() ? "" : "\xEF\xBF\xBD";
  pending_.clear();
  return out;
}

}  // namespace dodeca::runtime
