#include "runtime/base/text_encoding.hpp"

#include <fmt/core.h>

#include <array>

#include "runtime/base/error.hpp"
#include "runtime/base/printable.hpp"

namespace dodeca::runtime {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kHeadBytes = 4096;
constexpr std::size_t kLeastBytes = 8;  // fewer tell nothing

struct Beginning {
  std::string_view bytes, name;
};
// The marks of UTF-32 before those of UTF-16, which they begin with.
constexpr Beginning kBeginnings[] = {{"\xFF\xFE\0\0"sv, "UTF-32 (little-endian)"},
                                     {"\0\0\xFE\xFF"sv, "UTF-32 (big-endian)"},
                                     {"\xFF\xFE"sv, "UTF-16 (little-endian)"},
                                     {"\xFE\xFF"sv, "UTF-16 (big-endian)"},
                                     {"\x1F\x8B"sv, "compressed (gzip)"},
                                     {"\x28\xB5\x2F\xFD"sv, "compressed (zstd)"},
                                     {"\xFD"
                                      "7zXZ\0"sv,
                                      "compressed (xz)"},
                                     {"PK\x03\x04"sv, "compressed (zip)"}};

// Without a mark: where the zero bytes of ASCII characters are. Text in UTF-8 has none.
std::string_view by_zeros(std::string_view head) {
  std::array<std::size_t, 4> zeros{};
  const std::size_t n = head.size() / 4;
  for (std::size_t i = 0; i < 4 * n; ++i) zeros[i % 4] += head[i] == '\0';
  const auto many = [&](std::size_t place) { return 2 * zeros[place] > n; };
  const auto few = [&](std::size_t place) { return 8 * zeros[place] < n; };
  if (few(0) && many(1) && many(2) && many(3)) return "UTF-32 (little-endian)";
  if (many(0) && many(1) && many(2) && few(3)) return "UTF-32 (big-endian)";
  if (few(0) && many(1) && few(2) && many(3)) return "UTF-16 (little-endian)";
  if (many(0) && few(1) && many(2) && few(3)) return "UTF-16 (big-endian)";
  return "";
}

}  // namespace

std::string_view foreign_encoding(std::string_view head) {
  head = head.substr(0, kHeadBytes);
  for (const Beginning& beginning : kBeginnings)
    if (head.starts_with(beginning.bytes)) return beginning.name;
  return head.size() < kLeastBytes ? "" : by_zeros(head);
}

std::size_t utf8_length(std::string_view text) {
  std::size_t n = 0;
  while (n < text.size()) {
    const Utf8Prefix prefix = utf8_prefix(text.substr(n, 4));
    if (!prefix.complete) break;
    n += prefix.length;
  }
  return n;
}

void require_utf8(std::string_view text, std::string_view name) {
  const std::string_view encoding = foreign_encoding(text);
  if (encoding.empty()) return;
  const bool unicode = encoding.starts_with("UTF");
  throw Error(ErrorKind::kBadFile,
              unicode
                  ? fmt::format("{} is {} text and UTF-8 is wanted: save it as UTF-8, for example with iconv -f {} -t "
                                "UTF-8",
                                name, encoding, encoding.substr(0, encoding.find(' ')))
                  : fmt::format("{} is {} and text is wanted: unpack it first", name, encoding));
}

}  // namespace dodeca::runtime
