#include "runtime/text/byte_map.hpp"

#include <array>
#include <charconv>

#include "runtime/text/utf8.hpp"

namespace dodeca::runtime {
namespace {

// Printable Latin-1 bytes stand for themselves; the other 68, in increasing order, are U+0100 and up.
bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr char32_t kFirstShifted = 0x100, kEndShifted = 0x100 + 68;

struct Alphabet {
  std::array<char32_t, 256> of_byte;
  std::array<int, kEndShifted> to_byte;
  Alphabet() {
    to_byte.fill(-1);
    char32_t next = kFirstShifted;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const char32_t c = stands_for_itself(byte) ? byte : next++;
      of_byte[byte] = c;
      to_byte[c] = static_cast<int>(byte);
    }
  }
};
const Alphabet& alphabet() {
  static const Alphabet a;
  return a;
}

}  // namespace

std::string bytes_to_mapped(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) utf8::append(out, alphabet().of_byte[static_cast<unsigned char>(byte)]);
  return out;
}

std::optional<std::string> mapped_to_bytes(std::string_view mapped) {
  std::string out;
  for (std::size_t pos = 0; pos < mapped.size();) {
    const std::size_t n = utf8::length_at(mapped, pos);
    if (n == 0) return std::nullopt;
    const char32_t c = utf8::code_point(mapped, pos, n);
    if (c >= kEndShifted || alphabet().to_byte[c] < 0) return std::nullopt;
    out.push_back(static_cast<char>(alphabet().to_byte[c]));
    pos += n;
  }
  return out;
}

int byte_of_token(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  int byte = 0;
  const auto [stop, error] = std::from_chars(text.data() + 3, text.data() + 5, byte, 16);
  return error == std::errc() && stop == text.data() + 5 && byte >= 0 ? byte : -1;
}

}  // namespace dodeca::runtime
